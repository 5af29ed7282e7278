import EventLoop
import Foundation
import TestSupport
import Testing

@testable import RedisClient

/// A private server whose port speaks TLS and a client that trusts it, for the time of `body`.
@LoopActor
func withSecuredRedis(
    _ arguments: [String] = [],
    configure: (inout RedisConfiguration) -> Void = { _ in },
    _ body: @LoopActor (PrivateRedis, RedisClient, RedisConfiguration) async throws -> Void
) async throws {
    let authority = try await TestAuthority()
    defer { authority.remove() }
    let certificate = try await authority.sign("DNS:localhost")
    let server = try await PrivateRedis.start(arguments, showing: certificate)
    var configuration = try RedisConfiguration(
        url: "rediss://localhost:\(server.port)",
        files: RedisTLS.Files(authorities: authority.file)
    )
    configuration.deadline = .seconds(20)
    configuration.attemptTimeout = .seconds(10)
    configure(&configuration)
    let client = RedisClient(configuration)
    let outcome: Result<Void, any Error>
    do {
        try await client.start()
        try await body(server, client, configuration)
        outcome = .success(())
    } catch {
        outcome = .failure(error)
    }
    await client.stop()
    await server.stop()
    try outcome.get()
}

@Suite(
    "Redis over TLS",
    .serialized,
    .enabled(if: PrivateRedis.isAvailable && TestAuthority.isAvailable, "needs redis, openssl"),
    .timeLimit(.minutes(2))
)
@LoopActor
struct RedisTLSTests {
    @Test("commands, scripts and a pipeline of 10,000 commands are answered in order")
    func commands() async throws {
        try await withSecuredRedis { _, redis, _ async throws in
            #expect(try await redis.send(["PING"]) == .status("PONG"))
            let script = RedisScript("return {KEYS[1], ARGV[1]}")
            let answer = try await redis.run(script, keys: ["k"], arguments: ["v"])
            #expect(answer.array?.map(\.text) == ["k", "v"])
            let commands: [[RedisArgument]] = (0..<10_000).map { ["ECHO", .int($0)] }
            let answers = try await redis.pipeline(commands)
            #expect(answers.map(\.integer) == (0..<10_000).map { Int64($0) })
            #expect(redis.readings.connections == 1)
        }
    }

    @Test("an answer of 8 MB comes whole, and what follows it is in order")
    func largeAnswer() async throws {
        try await withSecuredRedis { _, redis, _ async throws in
            let value = (0..<8 * 1024 * 1024).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
            #expect(try await redis.send(["SET", "large", .bytes(value)]) == .status("OK"))
            let answers = try await redis.pipeline([["GET", "large"], ["PING"], ["GET", "large"]])
            #expect(answers[0].bytes == value)
            #expect(answers[1] == .status("PONG"))
            #expect(answers[2].bytes == value)
        }
    }

    @Test("what a stopped server does not take waits, and leaves when it goes on")
    func fullSocket() async throws {
        try await withSecuredRedis { server, redis, _ async throws in
            await server.pause()
            let value = [UInt8](repeating: 0x61, count: 2_000_000)
            let tasks = (0..<12).map { number in
                Task { @LoopActor in
                    await code {
                        try await redis.send(["SET", .string("k\(number)"), .bytes(value)])
                    }
                }
            }
            #expect(try await eventually { redis.readings.pending == 12 })
            // Long enough for the kernel to say that it takes no more.
            try await EventLoop.shared.sleep(for: .milliseconds(200))
            await server.resume()
            for task in tasks { #expect(await task.value == nil) }
            #expect(try await redis.send(["STRLEN", "k11"]) == .int(2_000_000))
            #expect(redis.readings.connections == 1)
        }
    }

    @Test("the URL's user, password and database number hold")
    func greeting() async throws {
        let arguments = ["--user", "me", "on", ">pw", "~*", "&*", "+@all"]
        try await withSecuredRedis(
            arguments,
            configure: {
                $0.username = "me"
                $0.password = "pw"
                $0.database = 3
            },
            { _, redis, _ async throws in
                let info = try await redis.send(["CLIENT", "INFO"]).text ?? ""
                #expect(info.contains("db=3 ") && info.contains("user=me "))
            }
        )
        let configuration = try RedisConfiguration(url: "rediss://me:pw@localhost:7000/3")
        #expect(configuration.endpoint == .tcp(host: "localhost", port: 7000))
        #expect(configuration.database == 3 && configuration.password == "pw")
        #expect("\(configuration)" == "me@localhost:7000/3 required TLS")
    }

    @Test("messages come, a wait in the server ends with its element, and both survive a loss")
    func ownConnections() async throws {
        try await withSecuredRedis { server, redis, configuration async throws in
            let subscriber = RedisSubscriber(configuration)
            try await subscriber.start()
            var messages: [String?] = []
            try subscriber.subscribe(.channel("news")) { messages.append($0.text) }
            try await subscriber.confirmed(.channel("news"), within: .seconds(10))
            let blocking = RedisBlockingConnection(configuration)
            try await blocking.start()
            let pop = Task { @LoopActor in
                try await blocking.send(["BLPOP", "list", 20], within: .seconds(25))
            }
            #expect(try await eventually { blocking.readings.pending == 1 })
            _ = try await redis.send(["RPUSH", "list", "x"])
            #expect(try await pop.value.array?.last?.text == "x")
            for number in 0..<500 { try await redis.publish("m\(number)", to: "news") }
            #expect(try await eventually { messages == (0..<500).map { "m\($0)" } })
            await server.kill()
            #expect(try await eventually { !subscriber.isConnected && !blocking.isConnected })
            try await server.restart()
            #expect(
                try await eventually(within: .seconds(10)) {
                    redis.isConnected && subscriber.isConnected && blocking.isConnected
                }
            )
            try await subscriber.confirmed(.channel("news"), within: .seconds(10))
            try await redis.publish("again", to: "news")
            #expect(try await eventually { messages.last == "again" })
            await subscriber.stop()
            await blocking.stop()
        }
    }

    @Test("a server killed in flight fails what waits, and is found again")
    func killed() async throws {
        try await withSecuredRedis { server, redis, _ async throws in
            await server.pause()
            let tasks = (0..<100).map { _ in
                Task { @LoopActor in await code { try await redis.send(["INCR", "n"]) } }
            }
            #expect(try await eventually { redis.readings.pending == 100 })
            await server.kill()
            for task in tasks { #expect(await task.value == .connectionLost) }
            try await server.restart()
            #expect(try await eventually(within: .seconds(10)) { redis.isConnected })
            #expect(try await redis.send(["INCR", "n"]) == .int(1))
        }
    }

    @Test("files that were renewed are taken with the next connection; what cannot be is told once")
    func renewed() async throws {
        let (old, new) = (try await TestAuthority(), try await TestAuthority())
        defer { for authority in [old, new] { authority.remove() } }
        let trusted = old.path("trusted")
        func trust(_ text: [UInt8]) throws {
            // As tools put a file in place: whole, under its name.
            try Data(text).write(to: URL(fileURLWithPath: trusted), options: .atomic)
        }
        try trust(Array(try Data(contentsOf: URL(fileURLWithPath: old.file))))
        let shown = try await old.sign("DNS:localhost")
        let server = try await PrivateRedis.start(showing: shown)
        let configuration = try RedisConfiguration(
            url: "rediss://localhost:\(server.port)",
            files: RedisTLS.Files(authorities: trusted)
        )
        var refusals: [RedisConfigurationError] = []
        let client = RedisClient(configuration) { event in
            if case .filesRefused(let error) = event { refusals.append(error) }
        }
        try await client.start()

        try trust(Array("half a file".utf8))
        for _ in 1...2 {
            await server.kill()
            #expect(try await eventually { !client.isConnected })
            try await server.restart()
            #expect(try await eventually(within: .seconds(10)) { client.isConnected })
        }
        #expect(refusals.map(\.variable) == ["REDIS_TLS_CA_FILE"])
        #expect(refusals.first?.message.contains("no certificate in PEM") == true)

        // The server's certificate and the list of those who are trusted change together.
        let next = try await new.sign("DNS:localhost")
        for (from, to) in [(next.file, shown.file), (next.key, shown.key)] {
            let data = try Data(contentsOf: URL(fileURLWithPath: from))
            try data.write(to: URL(fileURLWithPath: to), options: .atomic)
        }
        try trust(Array(try Data(contentsOf: URL(fileURLWithPath: new.file))))
        await server.kill()
        #expect(try await eventually { !client.isConnected })
        try await server.restart()
        #expect(try await eventually(within: .seconds(10)) { client.isConnected })
        #expect(refusals.count == 1)
        await client.stop()
        await server.stop()
    }

    @Test("a silent server is given up, and a stop waits for the answers that are due")
    func silentThenStopped() async throws {
        try await withSecuredRedis { server, redis, _ async throws in
            await server.pause()
            let late = await code { try await redis.send(["PING"], within: .milliseconds(100)) }
            #expect(late == .deadline)
            #expect(try await eventually(within: .seconds(3)) { !redis.isConnected })
            await server.resume()
            #expect(try await eventually(within: .seconds(10)) { redis.isConnected })
            let before = redis.readings.commands
            let tasks = (0..<100).map { _ in
                Task { @LoopActor in await code { try await redis.send(["INCR", "n"]) } }
            }
            #expect(try await eventually { redis.readings.commands == before + 100 })
            await redis.stop()
            for task in tasks { #expect(await task.value == nil) }
        }
    }

    @Test("records that arrive in small pieces, and a reset in their midst, are survived")
    func pieces() async throws {
        try await withSecuredRedis { server, redis, configuration async throws in
            let proxy = try FaultProxy(
                upstreamPort: UInt16(server.port),
                mode: .trickle(bytesPerSecond: 20_000)
            )
            defer { proxy.stop() }
            var slow = configuration
            slow.endpoint = .tcp(host: "localhost", port: Int(proxy.port))
            let client = RedisClient(slow)
            try await client.start()
            let value = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            #expect(try await client.send(["SET", "k", .bytes(value)]) == .status("OK"))
            let answer = Task { @LoopActor in
                await code {
                    let answer = try await client.send(["GET", "k"])
                    #expect(answer.bytes == value)
                }
            }
            #expect(await answer.value == nil)
            let cut = Task { @LoopActor in await code { try await client.send(["GET", "k"]) } }
            #expect(try await eventually { client.readings.pending == 1 })
            proxy.mode = .reset
            #expect(await cut.value == .connectionLost)
            proxy.mode = .pass
            #expect(try await eventually(within: .seconds(10)) { client.isConnected })
            #expect(try await client.send(["GET", "k"]).bytes == value)
            #expect(try await redis.send(["PING"]) == .status("PONG"))
            await client.stop()
        }
    }

    @Test("sentinels, and nodes of a cluster, are asked over TLS and name their server")
    func directories() async throws {
        let authority = try await TestAuthority()
        defer { authority.remove() }
        let certificate = try await authority.sign("IP:127.0.0.1")
        let files = RedisTLS.Files(authorities: authority.file)
        func answer(_ url: String, _ command: [RedisArgument]) async throws -> RedisValue {
            var configuration = try RedisConfiguration(url: url, files: files)
            configuration.attemptTimeout = .seconds(10)
            configuration.deadline = .seconds(10)
            let client = RedisClient(configuration)
            try await client.start()
            let answer = try await client.send(command)
            await client.stop()
            return answer
        }
        let primary = try await PrivateRedis.start(showing: certificate)
        let sentinel = try await PrivateRedis.startSentinel(
            watching: primary.port,
            quorum: 1,
            showing: certificate
        )
        let watched = "rediss+sentinel://127.0.0.1:\(sentinel.port)/primary/2"
        #expect(try await answer(watched, ["CLIENT", "INFO"]).text?.contains("db=2 ") == true)
        await sentinel.stop()
        await primary.stop()

        let node = try await PrivateRedis.start(
            [
                "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
                "--tls-cluster", "yes",
            ],
            showing: certificate
        )
        let place = "127.0.0.1:\(node.port)"
        _ = try await answer("rediss://\(place)", ["CLUSTER", "ADDSLOTSRANGE", 0, 16_383])
        let isWhole = try await eventually(within: .seconds(10)) {
            try await answer("rediss://\(place)", ["CLUSTER", "INFO"]).text?
                .contains("cluster_state:ok") == true
        }
        #expect(isWhole)
        #expect(
            try await answer("rediss+cluster://\(place)", ["SET", "k", "v"]) == .status("OK")
        )
        await node.stop()
    }
}
