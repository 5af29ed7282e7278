import EventLoop
import TestSupport
import Testing

@testable import RedisClient

@Suite(
    "A client of a cluster",
    .serialized,
    .enabled(if: PrivateRedis.isAvailable),
    .timeLimit(.minutes(2))
)
@LoopActor
struct ClusterTests {
    private func withCluster(
        hasReplicas: Bool = false,
        configure: (inout RedisConfiguration) -> Void = { $0.deadline = .seconds(10) },
        _ body: @LoopActor (ClusteredRedis, RedisClient, RedisConfiguration) async throws -> Void
    ) async throws {
        let cluster = try await ClusteredRedis.start(hasReplicas: hasReplicas)
        var configuration = try RedisConfiguration(url: cluster.url)
        configure(&configuration)
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

    private static let adding = RedisScript(
        "return redis.call('INCRBY', KEYS[1], ARGV[1])",
        name: "adding"
    )

    @Test("each command goes to the node of its key, many at once, and their answers stay in order")
    func routing() async throws {
        try await withCluster { cluster, redis, _ in
            #expect(redis.isConnected && redis.nodesAway.isEmpty)
            #expect(redis.server?.version.hasPrefix("7.") == true)
            let names = (0..<100).map { "k\($0)" }
            for name in names {
                _ = try await redis.send(["SET", .string(name), .string(name)])
                #expect(try await redis.send(["GET", .string(name)]).text == name)
                // The first call loads the script into one node; the others are sent its text.
                let count = "n:\(name)"
                #expect(try await redis.run(Self.adding, keys: [count], arguments: [2]) == .int(2))
            }
            for node in cluster.nodes {
                #expect(try await node.ask("DBSIZE").filter(\.isNumber) != "0")
            }
            #expect(try await redis.send(["DBSIZE"]) == .int(200))
            let all = try await redis.send(["MGET"] + names.map { .string($0) })
            #expect(all.array?.map(\.text) == names)
            let answers = try await redis.pipeline(
                names.flatMap { [["APPEND", .string($0), "!"], ["GET", .string($0)]] }
                    + [["LLEN", "k1"], ["EXISTS", "k1", "k2", "none"], ["PING"]]
            )
            for (place, name) in names.enumerated() {
                #expect(answers[place * 2 + 1].text == name + "!")
            }
            #expect(answers[200].errorMessage?.hasPrefix("WRONGTYPE") == true)
            #expect(answers[201] == .int(2) && answers[202] == .status("PONG"))
            #expect(try await redis.send(["DEL", "k1", "k2", "none"]) == .int(2))
            #expect(try await redis.sendToAll(["PING"]).count == 3)
            let scan = redis.scan(matching: "n:*", count: 10, type: "string")
            var found: Set<String> = []
            while let keys = try await scan.next() { found.formUnion(keys) }
            #expect(found == Set(names.map { "n:\($0)" }))
            let refused = await #expect(throws: RedisError.self) {
                try await redis.send(["SCAN", "0"])
            }
            #expect(refused?.code == .server)
            _ = try await redis.send(["FLUSHALL"])
            #expect(try await redis.send(["DBSIZE"]) == .int(0))
            #expect(redis.readings.connections == 3 && redis.readings.pending == 0)
        }
    }

    @Test("a transaction runs where its keys are, and not when they are in several slots")
    func transactions() async throws {
        try await withCluster { _, redis, _ in
            for number in 0..<20 {
                let key = RedisArgument.string("t\(number)")
                let answers = try await redis.transaction([["INCR", key], ["EXPIRE", key, 60]])
                #expect(answers == [.int(1), .int(1)])
            }
            let error = await #expect(throws: RedisError.self) {
                try await redis.transaction([["INCR", "t1"], ["INCR", "t2"]])
            }
            #expect(error?.serverCode == "CROSSSLOT" && error?.countsAsDown == false)
            let apart = await #expect(throws: RedisError.self) {
                try await redis.run(Self.adding, keys: ["t1", "t2"], arguments: [1])
            }
            #expect(apart?.serverCode == "CROSSSLOT")
            #expect(try await redis.send(["GET", "t1"]).integer == 1)
        }
    }

    @Test("streams and queues are read where they are, and what is published is heard on any node")
    func connections() async throws {
        try await withCluster { _, redis, configuration in
            for stream in ["s1", "s2", "s3"] {
                let blocking = RedisBlockingConnection(configuration.serving(stream))
                try await blocking.start()
                let name = RedisArgument.string(stream)
                _ = try await redis.send(["XGROUP", "CREATE", name, "g", "0", "MKSTREAM"])
                let reading = Task { @LoopActor in
                    try await blocking.send(
                        ["XREADGROUP", "GROUP", "g", "c", "BLOCK", 5000, "STREAMS", name, ">"],
                        within: .seconds(6)
                    )
                }
                _ = try await redis.send(["XADD", name, "*", "f", "v"])
                #expect(try await reading.value.array?.count == 1)
                #expect(try await redis.send(["XINFO", "GROUPS", name]).array?.count == 1)
                await blocking.stop()
            }
            var heard: Set<String> = []
            let subscriber = RedisSubscriber(configuration)
            try await subscriber.start()
            let channels = (0..<20).map { "c\($0)" }
            for channel in channels {
                try subscriber.subscribe(.channel(channel)) { heard.insert($0.channel) }
                try await subscriber.confirmed(.channel(channel))
            }
            _ = try await redis.pipeline(channels.map { ["PUBLISH", .string($0), ""] })
            #expect(try await eventually { heard == Set(channels) })
            let counts = try await redis.sendToAll(["PUBSUB", "NUMSUB", "c0"])
            #expect(counts.reduce(0) { $0 + ($1.array?.last?.integer ?? 0) } == 1)
            await subscriber.stop()
        }
    }

    @Test("while a slot moves each key is found, wherever it is, and nothing runs twice")
    func migration() async throws {
        try await withCluster { cluster, redis, _ in
            let keys = (0..<10).map { "{t}:\($0)" }
            for key in keys { _ = try await redis.send(["SET", .string(key), 1]) }
            let move = try await cluster.beginMove(of: "{t}")
            try await cluster.migrate(move, keys: 5)
            for key in keys + ["{t}:new"] {
                let word = RedisArgument.string(key)
                _ = try await redis.send(["INCR", word])
                _ = try await redis.run(Self.adding, keys: [key], arguments: [10])
                _ = try await redis.transaction([["INCRBY", word, 100], ["EXPIRE", word, 60]])
            }
            let sums = try await redis.pipeline(
                keys.map { ["INCRBY", .string($0), 1000] } + [
                    ["GET", "other"], ["GET", "{t}:new"],
                ]
            )
            #expect(sums.prefix(10).allSatisfy { $0 == .int(1112) })
            #expect(sums[10] == .null && sums[11].integer == 111)
            // Keys of both nodes: no node can answer before all are at one.
            let both = Task { @LoopActor in
                try await redis.send(["MGET"] + keys.map { .string($0) }, within: .seconds(5))
            }
            try await EventLoop.shared.sleep(for: .milliseconds(10))
            while try await cluster.migrate(move) {}
            try await cluster.finish(move)
            let code = await code { try await both.value }
            #expect(code == nil || code == .unavailable)
            let all = try await redis.send(["MGET"] + keys.map { .string($0) })
            #expect(all.array?.allSatisfy { $0.integer == 1112 } == true)
        }
    }

    @Test("a slot that moves under load loses nothing and fails nobody")
    func movingUnderLoad() async throws {
        try await withCluster { cluster, redis, _ in
            var (isDone, sent, failures) = (false, 0, [String]())
            let load = (0..<8).map { number in
                Task { @LoopActor in
                    while !isDone {
                        do throws(RedisError) {
                            let key = RedisArgument.string("{t}:\(number)")
                            _ = try await redis.pipeline([["INCR", key], ["INCR", "u\(number)"]])
                            _ = try await redis.transaction([["INCR", key], ["TTL", key]])
                            _ = try await redis.send(["INCR", key])
                            sent += 3
                        } catch {
                            failures.append("\(error)")
                        }
                    }
                }
            }
            for _ in 0..<4 { try await cluster.move(slotOf: "{t}") }
            let before = sent
            #expect(try await eventually { sent > before + 300 })
            isDone = true
            for task in load { await task.value }
            #expect(failures == [])
            var sum: Int64 = 0
            for number in 0..<8 {
                sum += try await redis.send(["GET", .string("{t}:\(number)")]).integer ?? 0
            }
            #expect(sum == Int64(sent))
        }
    }
}
