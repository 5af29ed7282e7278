import EventLoop
import TestSupport
import Testing

@testable import RedisClient

@Suite(
    "A client of a cluster that loses nodes",
    .serialized,
    .enabled(if: PrivateRedis.isAvailable),
    .timeLimit(.minutes(2))
)
@LoopActor
struct ClusterLossTests {
    /// What became of commands that were sent without end.
    private final class Tally {
        var done: [String: Int64] = [:]
        var unsure: [String: Int64] = [:]
        var strange: [String] = []
        var slowest: Duration = .zero
        var isOver = false

        func run(_ redis: RedisClient, _ key: String) async {
            while !isOver {
                let began = MonotonicTime.now()
                do throws(RedisError) {
                    _ = try await redis.send(["INCR", .string(key)])
                    done[key, default: 0] += 1
                } catch {
                    if !error.countsAsDown { strange.append("\(error)") }
                    if error.mayHaveRun { unsure[key, default: 0] += 1 }
                }
                slowest = max(slowest, MonotonicTime.now() - began)
                try? await EventLoop.shared.sleep(for: .milliseconds(1))
            }
        }
    }

    private func withReplicas(
        _ body: @LoopActor (ClusteredRedis, RedisClient, RedisConfiguration) async throws -> Void
    ) async throws {
        let cluster = try await ClusteredRedis.start(hasReplicas: true)
        var configuration = try RedisConfiguration(url: cluster.url)
        configuration.deadline = .seconds(1)
        let redis = RedisClient(configuration)
        let outcome: Result<Void, any Error>
        do {
            try await redis.start()
            outcome = .success(try await body(cluster, redis, configuration))
        } catch {
            outcome = .failure(error)
        }
        await redis.stop()
        await cluster.stop()
        try outcome.get()
    }

    /// Ends a node in `way` under load, and waits until all is well again.
    private func lose(_ way: @escaping @LoopActor (PrivateRedis) async -> Void) async throws {
        try await withReplicas { cluster, redis, configuration in
            let keys = (0..<24).map { "k\($0)" }
            let tally = Tally()
            let load = keys.map { key in Task { @LoopActor in await tally.run(redis, key) } }
            #expect(try await eventually { tally.done.count == 24 })
            let blocking = RedisBlockingConnection(configuration.serving("k1"))
            try await blocking.start()
            let dying = try await cluster.owner(of: "k1").owner
            await way(dying)
            let sees = try await eventually(within: .seconds(3)) {
                redis.nodesAway == [.tcp(host: "127.0.0.1", port: dying.port)]
            }
            #expect(sees && !redis.isConnected)
            let isBack = try await eventually(within: .seconds(20)) { redis.isConnected }
            #expect(isBack && redis.nodesAway.isEmpty)
            let after = tally.done
            let goesOn = try await eventually {
                keys.allSatisfy { tally.done[$0, default: 0] > after[$0, default: 0] }
            }
            #expect(goesOn)
            let isHeard = try await eventually(within: .seconds(10)) {
                (try? await blocking.send(["TYPE", "k1"], within: .seconds(1))) != nil
            }
            #expect(isHeard)
            tally.isOver = true
            for task in load { await task.value }
            await blocking.stop()
            #expect(tally.strange == [])
            #expect(tally.slowest < .seconds(3))
            for key in keys {
                let count = try await redis.send(["GET", .string(key)]).integer ?? 0
                // What the dying node had not copied yet is lost; nothing runs twice.
                #expect(count <= tally.done[key, default: 0] + tally.unsure[key, default: 0])
                #expect(count > 0)
            }
            await dying.resume()
        }
    }

    @Test("a node killed under load is replaced within seconds, and nothing runs twice")
    func killed() async throws { try await lose { await $0.kill() } }

    @Test("a node that stops in its tracks is left, and its replica used")
    func paused() async throws { try await lose { await $0.pause() } }

    @Test("without a replica the other nodes' slots are as the cluster says, until it is back")
    func withoutReplica() async throws {
        let cluster = try await ClusteredRedis.start()
        let redis = RedisClient(try RedisConfiguration(url: cluster.url))
        try await redis.start()
        let (owner, _) = try await cluster.owner(of: "k")
        await owner.kill()
        #expect(try await eventually { !redis.isConnected })
        let error = await #expect(throws: RedisError.self) { try await redis.send(["GET", "k"]) }
        #expect(error?.countsAsDown == true && error?.mayHaveRun == false)
        let split = await #expect(throws: RedisError.self) {
            try await redis.pipeline([["GET", "k"], ["GET", "a"], ["GET", "b"], ["GET", "c"]])
        }
        #expect(split?.code == .notConnected)
        #expect(await code { try await redis.send(["FLUSHALL"]) } == .notConnected)
        try await owner.restart()
        let isBack = try await eventually(within: .seconds(15)) {
            (try? await redis.send(["SET", "k", "v"])) != nil
        }
        #expect(isBack && redis.isConnected)
        await redis.stop()
        await cluster.stop()
    }

    @Test("a subscriber goes to another node when its own dies, and hears again")
    func subscriber() async throws {
        try await withReplicas { cluster, redis, configuration in
            var (heard, restored) = (0, 0)
            let subscriber = RedisSubscriber(configuration, onResubscribed: { restored += 1 })
            try await subscriber.start()
            try subscriber.subscribe(.channel("news")) { _ in heard += 1 }
            try await subscriber.confirmed(.channel("news"))
            for node in cluster.nodes
            where try await node.ask("PUBSUB", "NUMSUB", "news").contains("1") {
                await node.kill()
                break
            }
            #expect(try await eventually(within: .seconds(4)) { restored == 1 })
            let before = heard
            let hears = try await eventually(within: .seconds(10)) {
                _ = try? await redis.publish("x", to: "news")
                return heard > before
            }
            #expect(hears)
            await subscriber.stop()
        }
    }

    @Test("a cluster that is away at the start is found when it is there")
    func awayAtStart() async throws {
        let cluster = try await ClusteredRedis.start()
        for node in cluster.nodes { await node.kill() }
        let redis = RedisClient(try RedisConfiguration(url: cluster.url))
        #expect(await code { try await redis.start() } == .notConnected)
        #expect(await code { try await redis.send(["GET", "k"]) } == .notConnected)
        #expect(!redis.isConnected)
        for node in cluster.nodes { try await node.restart() }
        let isBack = try await eventually(within: .seconds(15)) {
            (try? await redis.send(["SET", "k", "v"])) != nil
        }
        #expect(isBack)
        await redis.stop()
        await cluster.stop()
    }
}
