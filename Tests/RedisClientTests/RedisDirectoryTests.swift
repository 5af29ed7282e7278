import EventLoop
import TestSupport
import Testing

@testable import RedisClient

@Suite("RedisDirectory")
struct RedisDirectoryTests {
    private static let member = RedisConfiguration.Endpoint.tcp(host: "asked", port: 7)
    private let watched = RedisDirectory.sentinels([member], service: "prime")
    private let clustered = RedisDirectory.cluster([member])

    private func node(_ first: Int64, _ last: Int64, _ host: RedisValue) -> RedisValue {
        .array([.int(first), .int(last), .array([host, .int(17), .string([])])])
    }

    @Test("a sentinel's answer names the primary, or says that there is none")
    func sentinels() throws {
        let answer = RedisValue.array([.string(Array("h".utf8)), .string(Array("70".utf8))])
        let server = try watched.server(in: answer, of: Self.member, slot: 0)
        #expect(server == .tcp(host: "h", port: 70))
        for bad in [RedisValue.null, .array([]), .array([.string([]), .string([65])])] {
            let error = #expect(throws: RedisError.self) {
                try watched.server(in: bad, of: Self.member, slot: 0)
            }
            #expect(error?.countsAsDown == true && error?.message.contains("'prime'") == true)
        }
    }

    @Test("a cluster's answer names the node of the slot; a node may leave its own host out")
    func cluster() throws {
        let answer = RedisValue.array([
            node(0, 99, .string(Array("a".utf8))), node(100, 16_383, .null), .int(5),
        ])
        func server(_ slot: Int) throws -> RedisConfiguration.Endpoint {
            try clustered.server(in: answer, of: Self.member, slot: slot)
        }
        #expect(try server(99) == .tcp(host: "a", port: 17))
        #expect(try server(100) == .tcp(host: "asked", port: 17))
        let error = #expect(throws: RedisError.self) { try server(16_384) }
        #expect(error?.message.contains("16384") == true)
        let down = #expect(throws: RedisError.self) {
            try clustered.server(in: .error("CLUSTERDOWN x"), of: Self.member, slot: 0)
        }
        #expect(down?.countsAsDown == true)
    }

    @Test("only words about this server's place make a connection end")
    func outdated() {
        #expect(watched.isOutdated(by: "READONLY You can't", slot: 1))
        #expect(!watched.isOutdated(by: "OOM command not allowed", slot: 1))
        #expect(clustered.isOutdated(by: "MOVED 1 h:7", slot: 1))
        #expect(!clustered.isOutdated(by: "MOVED 12 h:7", slot: 1))
        #expect(!clustered.isOutdated(by: "ASK 1 h:7", slot: 1))
    }
}

@Suite("A client behind a directory", .serialized, .timeLimit(.minutes(2)))
@LoopActor
struct RedisDirectoryClientTests {
    /// A primary with a replica and one sentinel; sentinels ask for a password here.
    private func withSentinel(
        _ body: @LoopActor (PrivateRedis, PrivateRedis, PrivateRedis) async throws -> Void
    ) async throws {
        let primary = try await PrivateRedis.start(["--repl-diskless-sync-delay", "0"])
        let replica = try await PrivateRedis.start(["--replicaof", "127.0.0.1", "\(primary.port)"])
        try await replica.await("master_link_status:up", in: ["INFO", "replication"])
        let sentinel = try await PrivateRedis.startSentinel(
            watching: primary.port,
            quorum: 1,
            password: "watch"
        )
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(primary, replica, sentinel)) } catch {
            outcome = .failure(error)
        }
        for server in [sentinel, replica, primary] { await server.stop() }
        try outcome.get()
    }

    private func configuration(_ url: String) throws -> RedisConfiguration {
        var configuration = try RedisConfiguration(url: url)
        configuration.sentinelPassword = "watch"
        return configuration
    }

    @Test("a client finds the primary by sentinels, past dead ones, and follows it when it moves")
    func failover() async throws {
        try await withSentinel { primary, replica, sentinel async throws in
            try await sentinel.await("slaves=1", in: ["-a", "watch", "INFO", "sentinel"])
            let url = "redis+sentinel://127.0.0.1:1,127.0.0.1:\(sentinel.port)/primary"
            let redis = RedisClient(try configuration(url))
            let blocking = RedisBlockingConnection(try configuration(url))
            try await redis.start()
            try await blocking.start()
            #expect(
                try await redis.send(["CONFIG", "GET", "port"]).array?.last?.integer
                    == Int64(primary.port)
            )
            let order = ["-a", "watch", "SENTINEL", "FAILOVER", "primary"]
            try await sentinel.await("OK", in: order)
            try await replica.await("role:master", in: ["INFO", "replication"])
            let hasMoved = try await eventually(within: .seconds(7)) {
                let answer = try? await redis.send(["CONFIG", "GET", "port"])
                return answer?.array?.last?.integer == Int64(replica.port)
            }
            #expect(hasMoved)
            #expect(try await redis.send(["SET", "k", "v"]) == .status("OK"))
            let isBack = try await eventually {
                let command: [RedisArgument] = ["SET", "k", "w"]
                return (try? await blocking.send(command, within: .seconds(1))) != nil
            }
            #expect(isBack)
            await blocking.stop()
            await redis.stop()
        }
    }

    @Test("an unknown primary, a wrong password and a server that is a replica are told apart")
    func refusals() async throws {
        try await withSentinel { primary, replica, sentinel async throws in
            let place = "127.0.0.1:\(sentinel.port)"
            let unknown = RedisClient(try configuration("redis+sentinel://\(place)/other"))
            var error = await #expect(throws: RedisError.self) { try await unknown.start() }
            #expect(error?.message.contains("no primary 'other' is known") == true)
            await unknown.stop()
            var wrong = try configuration("redis+sentinel://\(place)/primary")
            wrong.sentinelPassword = "wrong"
            let refused = RedisClient(wrong)
            error = await #expect(throws: RedisError.self) { try await refused.start() }
            #expect(error?.code == .authentication)
            await refused.stop()
            // The primary is demoted behind the sentinel's back.
            let redis = RedisClient(try configuration("redis+sentinel://\(place)/primary"))
            try await redis.start()
            try await sentinel.ask("-a", "watch", "SENTINEL", "REMOVE", "primary")
            try await primary.ask("REPLICAOF", "127.0.0.1", "\(replica.port)")
            error = await #expect(throws: RedisError.self) {
                try await redis.send(["SET", "k", "v"])
            }
            #expect(error?.countsAsDown == true)
            #expect(try await eventually { !redis.isConnected })
            await redis.stop()
        }
    }

    @Test("a demoted server is no primary even where a directory names it")
    func replica() {
        var configuration = RedisConfiguration()
        configuration.directory = .sentinels([], service: "primary")
        let greeting = Greeting(configuration)
        let info = RedisValue.string(Array("redis_version:7.0.15".utf8))
        let error = #expect(throws: RedisError.self) {
            try greeting.facts(from: [info, info, .array([.string(Array("slave".utf8))])])
        }
        #expect(error?.code == .unavailable)
    }

    @Test("on a cluster a connection of its own is with the node of its key's slot, and follows it")
    func cluster() async throws {
        let cluster = try await ClusteredRedis.start()
        let configuration = try RedisConfiguration(url: cluster.url).serving("{t}:k")
        let blocking = RedisBlockingConnection(configuration)
        func push(_ key: String) async throws {
            let command: [RedisArgument] = ["RPUSH", .string(key), "v"]
            _ = try await blocking.send(command, within: .seconds(1))
        }
        let outcome: Result<Void, any Error>
        do {
            try await blocking.start()
            try await push("{t}:k")
            let foreign = await #expect(throws: RedisError.self) { try await push("elsewhere") }
            #expect(foreign?.serverCode == "MOVED" && blocking.isConnected)
            try await cluster.move(slotOf: "{t}:k")
            let hasMoved = try await eventually { (try? await push("{t}:k")) != nil }
            #expect(hasMoved && blocking.readings.connections == 2)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        await blocking.stop()
        await cluster.stop()
        try outcome.get()
    }
}
