import EventLoop
import Foundation
import TestSupport
import Testing

@testable import RedisClient

@Suite("RedisLink", .serialized, .enabled(if: PrivateRedis.isAvailable), .timeLimit(.minutes(2)))
@LoopActor
struct RedisLossTests {
    @Test("a server killed in flight fails every pending command, and is found again within 2 s")
    func killed() async throws {
        try await withRedis {
            server,
            redis async throws in
            await server.pause()
            let tasks = (0..<1000).map { _ in
                Task { @LoopActor in await code { try await redis.send(["INCR", "n"]) } }
            }
            #expect(try await eventually { redis.readings.pending == 1000 })
            await server.kill()
            for task in tasks { #expect(await task.value == .connectionLost) }
            #expect(!redis.isConnected)
            #expect(await code { try await redis.send(["INCR", "n"]) } == .notConnected)
            // Long enough for the waits to have grown to their longest.
            try await EventLoop.shared.sleep(for: .seconds(4))
            try await server.restart()
            let back = try await eventually(within: .seconds(2)) { redis.isConnected }
            #expect(back)
            #expect(try await redis.send(["INCR", "n"]) == .int(1))
            #expect(redis.readings.connections == 2)
        }
    }

    @Test("a stopped server costs deadlines; going on, nobody gets another's answer")
    func paused() async throws {
        try await withRedis { server, redis async throws in
            await server.pause()
            var tasks = (0..<50).map { number in
                Task { @LoopActor in
                    await code {
                        try await redis.send(["ECHO", "old\(number)"], within: .milliseconds(200))
                    }
                }
            }
            for task in tasks { #expect(await task.value == .deadline) }
            // The connection is still the first one: the old answers are yet to come.
            #expect(redis.isConnected)
            await server.resume()
            tasks = (0..<50).map { number in
                Task { @LoopActor in
                    await code {
                        let text = try await redis.send(["ECHO", "new\(number)"]).text
                        #expect(text == "new\(number)")
                        return text
                    }
                }
            }
            for task in tasks { #expect(await task.value == nil) }
            #expect(redis.readings.connections == 1)
        }
    }

    @Test("a server that stays silent is given up, refuses fast, and is back when it goes on")
    func silent() async throws {
        try await withRedis { server, redis async throws in
            await server.pause()
            let late = await code { try await redis.send(["PING"], within: .milliseconds(100)) }
            #expect(late == .deadline)
            #expect(try await eventually(within: .seconds(3)) { !redis.isConnected })
            #expect(await code { try await redis.send(["PING"]) } == .notConnected)
            await server.resume()
            #expect(try await eventually(within: .seconds(4)) { redis.isConnected })
            #expect(try await redis.send(["ECHO", "x"]).text == "x")
        }
    }

    @Test("a transaction without its answer in time leaves the next ones in order")
    func slowTransaction() async throws {
        try await withRedis { server, redis async throws in
            await server.pause()
            let commands: [[RedisArgument]] = [["INCR", "n"], ["INCR", "n"]]
            let late = await code {
                try await redis.transaction(commands, within: .milliseconds(100))
            }
            #expect(late == .deadline)
            await server.resume()
            #expect(try await redis.send(["ECHO", "x"]).text == "x")
            #expect(try await redis.send(["GET", "n"]).integer == 2)
        }
    }

    @Test("a start without a server throws, and the client goes on trying")
    func lateServer() async throws {
        let server = try await PrivateRedis.start()
        await server.kill()
        var events: [RedisEvent] = []
        let redis = RedisClient(RedisConfiguration(endpoint: server.endpoint)) { event in
            events.append(event)
        }
        #expect(await code { try await redis.start() } == .notConnected)
        try await server.restart()
        #expect(try await eventually(within: .seconds(2)) { redis.isConnected })
        guard case .attemptFailed(let error, _) = events.first else {
            Issue.record("the first event is \(events)")
            return
        }
        #expect(error.message.contains("127.0.0.1:\(server.port)"))
        #expect(error.message.contains("refused"))
        guard case .connected(let facts) = events.last else {
            Issue.record("the last event is \(events)")
            return
        }
        #expect(facts.version.hasPrefix("7."))
        await redis.stop()
        await redis.stop()
        #expect(await code { try await redis.send(["PING"]) } == .notConnected)
        await server.stop()
    }

    @Test("a stop waits for the answers that are due and takes no more commands")
    func gracefulStop() async throws {
        try await withRedis { _, redis async throws in
            let tasks = (0..<100).map { _ in
                Task { @LoopActor in await code { try await redis.send(["INCR", "n"]) } }
            }
            #expect(try await eventually { redis.readings.commands > 100 })
            await redis.stop()
            for task in tasks { #expect(await task.value == nil) }
            #expect(await code { try await redis.send(["INCR", "n"]) } == .notConnected)
            try await redis.start()
            #expect(try await redis.send(["INCR", "n"]) == .int(101))
        }
    }

    @Test("a stop ends an attempt that waits for its turn")
    func stopWhileWaiting() async throws {
        let redis = RedisClient(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: 1)))
        for _ in 0..<2 { #expect(await code { try await redis.start() } == .notConnected) }
        await redis.stop()
        #expect(!redis.isConnected)
    }

    @Test("wrong and missing passwords are told apart from a dead server")
    func passwords() async throws {
        let server = try await PrivateRedis.start(["--requirepass", "right"])
        for (password, words) in [("wrong", "WRONGPASS"), (nil, "NOAUTH")] as [(String?, String)] {
            var configuration = RedisConfiguration(endpoint: server.endpoint)
            configuration.password = password
            let redis = RedisClient(configuration)
            let error = await #expect(throws: RedisError.self) { try await redis.start() }
            #expect(error?.code == .authentication)
            #expect(error?.message.contains(words) == true)
            #expect(error?.description.contains("wrong") == false)
            await redis.stop()
        }
        await server.stop()
    }

    @Test("user, password, database, client name and host name are honoured")
    func greeting() async throws {
        let server = try await PrivateRedis.start([
            "--user", "me", "on", ">pw", "~*", "&*", "+@all",
        ])
        var configuration = try RedisConfiguration(
            url: "redis://me:pw@localhost:\(server.port)/3"
        )
        configuration.clientName = "switchboard"
        let redis = RedisClient(configuration)
        try await redis.start()
        let info = try await redis.send(["CLIENT", "INFO"]).text ?? ""
        #expect(info.contains("name=switchboard "))
        #expect(info.contains("db=3 "))
        #expect(info.contains("user=me "))
        await redis.stop()
        await server.stop()
    }

    @Test("a socket in the file system does as well; a database out of range is an error")
    func unixSocket() async throws {
        let server = try await PrivateRedis.start()
        let path = server.folder.appendingPathComponent("socket").path
        let redis = RedisClient(try RedisConfiguration(url: "unix://\(path)"))
        try await redis.start()
        #expect(try await redis.send(["PING"]) == .status("PONG"))
        await redis.stop()
        let far = RedisClient(try RedisConfiguration(url: "unix://\(path)?db=99"))
        #expect(await code { try await far.start() } == .server)
        await far.stop()
        await server.stop()
    }

    @Test("a name without an address is an error and no hang")
    func unknownHost() async throws {
        let redis = RedisClient(
            RedisConfiguration(endpoint: .tcp(host: "no.such.host.invalid", port: 6379))
        )
        let error = await #expect(throws: RedisError.self) { try await redis.start() }
        #expect(error?.countsAsDown == true)
        #expect(error?.message.contains("no.such.host.invalid") == true)
        await redis.stop()
    }

    @Test("a server that accepts and says nothing costs an attempt its time")
    func silentGreeting() async throws {
        try await withRedis { server, _ async throws in
            await server.pause()
            var configuration = RedisConfiguration(endpoint: server.endpoint)
            configuration.attemptTimeout = .milliseconds(100)
            let late = RedisClient(configuration)
            #expect(await code { try await late.start() } == .deadline)
            #expect(!late.isConnected)
            await server.resume()
            #expect(try await eventually { late.isConnected })
            await late.stop()
        }
    }

    @Test("a server that turns clients away is quoted")
    func turnedAway() async throws {
        try await withRedis(["--maxclients", "1"]) { server, _ async throws in
            let second = RedisClient(RedisConfiguration(endpoint: server.endpoint))
            let error = await #expect(throws: RedisError.self) { try await second.start() }
            #expect(error?.code == .connectionLost)
            #expect(error?.message.contains("max number of clients") == true)
            await second.stop()
        }
    }
}
