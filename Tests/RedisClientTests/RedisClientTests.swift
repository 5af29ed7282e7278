import EventLoop
import TestSupport
import Testing

@testable import RedisClient

@Suite("RedisClient", .serialized, .enabled(if: PrivateRedis.isAvailable), .timeLimit(.minutes(2)))
@LoopActor
struct RedisClientTests {
    @Test("every kind of reply comes out as what it is")
    func replies() async throws {
        try await withRedis { _, redis async throws in
            #expect(try await redis.send(["SET", "k", "é"]) == .status("OK"))
            #expect(try await redis.send(["GET", "k"]).text == "é")
            #expect(try await redis.send(["GET", "none"]) == .null)
            #expect(try await redis.send(["SET", "b", .bytes([0, 255, 13, 10])]) == .status("OK"))
            #expect(try await redis.send(["GET", "b"]).bytes == [0, 255, 13, 10])
            #expect(try await redis.send(["INCRBY", "n", -7]) == .int(-7))
            #expect(try await redis.send(["LRANGE", "none", 0, -1]) == .array([]))
            let script = RedisScript(
                """
                return {1, 'a', false, {2, {}}, redis.status_reply('FINE'), redis.error_reply('E x')}
                """
            )
            let nested = try await redis.run(script, keys: [])
            #expect(
                nested
                    == .array([
                        .int(1), .string([97]), .null, .array([.int(2), .array([])]),
                        .status("FINE"), .error("E x"),
                    ])
            )
            let error = await #expect(throws: RedisError.self) {
                try await redis.send(["LPUSH", "k", "x"])
            }
            #expect(error?.code == .server)
            #expect(error?.serverCode == "WRONGTYPE")
            #expect(error?.command == "LPUSH")
        }
    }

    @Test("ten thousand concurrent commands get their own answers, many to a write")
    func pipelining() async throws {
        try await withRedis {
            server,
            redis async throws in
            let before = redis.readings
            let tasks = (0..<10_000).map { number in
                Task { @LoopActor in
                    try await redis.send(["ECHO", .int(Int64(number))]).integer == Int64(number)
                }
            }
            for task in tasks { #expect(try await task.value) }
            let writes = redis.readings.writes - before.writes
            #expect(redis.readings.commands - before.commands == 10_000)
            #expect(writes < 1000)
            #expect(redis.readings.pending == 0)
        }
    }

    @Test("a large value goes out and comes back in pieces")
    func largeValue() async throws {
        try await withRedis { _, redis async throws in
            // More than the socket's buffers hold on both sides.
            let piece = 2_000_000
            let value = (1...5).flatMap { [UInt8](repeating: $0, count: piece) }
            async let small = redis.send(["INCR", "n"])
            async let set = redis.send(["SET", "big", .bytes(value)])
            async let get = redis.send(["GET", "big"])
            #expect(try await small == .int(1))
            #expect(try await set == .status("OK"))
            let bytes = try await get.bytes ?? []
            #expect(bytes.count == value.count)
            #expect((1...5).allSatisfy { bytes[Int($0) * piece - 1] == $0 })
        }
    }

    @Test("pipelines keep errors in place; transactions run as one or not at all")
    func groups() async throws {
        try await withRedis { _, redis async throws in
            #expect(
                try await redis.pipeline([["SET", "k", "x"], ["INCR", "k"], ["GET", "k"]])
                    == [
                        .status("OK"),
                        .error("ERR value is not an integer or out of range"),
                        .string(Array("x".utf8)),
                    ]
            )
            #expect(try await redis.pipeline([]) == [])
            #expect(
                try await redis.transaction([["INCR", "{t}:n"], ["EXPIRE", "{t}:n", 60]])
                    == [.int(1), .int(1)]
            )
            let partly = try await redis.transaction([["INCR", "k"], ["INCR", "n"]])
            #expect(partly[0].errorMessage?.hasPrefix("ERR value is not") == true)
            #expect(partly[1] == .int(1))
            let error = await #expect(throws: RedisError.self) {
                try await redis.transaction([["INCR", "n"], ["NOSUCHCOMMAND", "n"]])
            }
            #expect(error?.code == .server)
            #expect(error?.message.contains("unknown command") == true)
            #expect(try await redis.send(["GET", "n"]).integer == 1)
            #expect(try await redis.transaction([]) == [])
        }
    }

    @Test("transactions of many tasks do not get into each other")
    func concurrentTransactions() async throws {
        try await withRedis {
            server,
            redis async throws in
            let tasks = (0..<500).map { number in
                Task { @LoopActor in
                    let name = RedisArgument.string("k\(number % 7)")
                    let values = try await redis.transaction([
                        ["SET", name, .int(Int64(number))], ["GET", name],
                    ])
                    return values.last?.integer == Int64(number)
                }
            }
            for task in tasks { #expect(try await task.value) }
        }
    }

    @Test("a script that the server forgot is sent again, under concurrency too")
    func scripts() async throws {
        try await withRedis { _, redis async throws in
            let script = RedisScript(
                "return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}",
                name: "counting"
            )
            func run() async throws -> RedisValue {
                try await redis.run(script, keys: ["{t}:n"], arguments: ["a"])
            }
            #expect(script.digest == nil)
            #expect(try await run().array?.last == .int(1))
            #expect(script.digest?.utf8.count == 40)
            #expect(try await redis.send(["SCRIPT", "FLUSH"]) == .status("OK"))
            let tasks = (0..<50).map { _ in Task { @LoopActor in try await run() } }
            for task in tasks { #expect(try await task.value.array?.first?.text == "{t}:n") }
            #expect(try await redis.send(["GET", "{t}:n"]).integer == 51)
            let fault = RedisScript("return redis.call('LPUSH', KEYS[1], 'x')")
            await #expect(throws: RedisError.self) { try await redis.run(fault, keys: ["{t}:n"]) }
            #expect(await code { try await redis.run(fault, keys: ["{t}:n"]) } == .server)
        }
    }

    @Test("slots agree with the server's own")
    func slots() async throws {
        try await withRedis(["--cluster-enabled", "yes"]) { _, redis async throws in
            let keys = [
                "", "a", "foo{", "foo{}{bar}", "foo{{bar}}zap", "foo{bar}{zap}", "{t}:a", "b:{t}",
                "ключ", "key with spaces", "}{", "{}", "a}b{c}d",
            ]
            for key in keys + (0..<200).map({ "key:\($0 &* 2_654_435_761)" }) {
                let reply = try await redis.send(["CLUSTER", "KEYSLOT", .string(key)])
                #expect(reply.integer == Int64(RedisKeySlot.slot(of: key)), "\(key)")
            }
        }
    }

    @Test("a full queue refuses at once and empties again")
    func queueFull() async throws {
        try await withRedis(configure: {
            $0.pendingLimit = 8
            $0.deadline = .milliseconds(200)
        }) { server, redis async throws in
            await server.pause()
            let tasks = (0..<20).map { _ in
                Task { @LoopActor in await code { try await redis.send(["PING"]) } }
            }
            var codes: [RedisError.Code?] = []
            for task in tasks { codes.append(await task.value) }
            #expect(codes[..<8].allSatisfy { $0 == .deadline })
            #expect(codes[8...].allSatisfy { $0 == .queueFull })
            #expect(redis.readings.refusals == 12)
            #expect(redis.readings.deadlines == 8)
            await server.resume()
            #expect(try await eventually { await code { try await redis.send(["PING"]) } == nil })
        }
    }

    @Test("a queue full of bytes refuses too, and a transaction goes in whole or not at all")
    func queueFullOfBytes() async throws {
        try await withRedis(configure: {
            $0.pendingBytesLimit = 1000
            $0.pendingLimit = 6
        }) { server, redis async throws in
            let large = RedisArgument.bytes([UInt8](repeating: 1, count: 600))
            await server.pause()
            let first = Task { @LoopActor in
                try await redis.send(["ECHO", large])
            }
            #expect(try await eventually { redis.readings.pending == 1 })
            #expect(await code { try await redis.send(["ECHO", large]) } == .queueFull)
            await server.resume()
            #expect(try await first.value.bytes?.count == 600)
            let commands = [[RedisArgument]](repeating: ["INCR", "n"], count: 5)
            #expect(await code { try await redis.transaction(commands) } == .queueFull)
            #expect(try await redis.transaction(commands.dropLast()).last == .int(4))
        }
    }

    @Test("a full server counts as down")
    func outOfMemory() async throws {
        try await withRedis(["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]) {
            _,
            redis in
            #expect(redis.server?.maxMemoryPolicy == "noeviction")
            #expect(redis.server?.maxMemory == 1_048_576)
            #expect(redis.server?.mayEvict == false)
            let value = RedisArgument.bytes([UInt8](repeating: 1, count: 200_000))
            var last: RedisError.Code?
            for number in 0..<20 where last == nil {
                last = await code { try await redis.send(["SET", .string("k\(number)"), value]) }
            }
            #expect(last == .unavailable)
            let error = await #expect(throws: RedisError.self) {
                try await redis.send(["SET", "k", value])
            }
            #expect(error?.serverCode == "OOM")
            #expect(error?.countsAsDown == true)
            let script = RedisScript("return redis.call('SET', KEYS[1], ARGV[1])")
            #expect(
                await code {
                    try await redis.run(script, keys: ["k"], arguments: [value])
                } == .unavailable
            )
        }
    }

    @Test("a transaction whose keys are in two slots traps")
    func slotsOfTransaction() async {
        await #expect(processExitsWith: .failure) {
            let redis = await RedisClient(RedisConfiguration())
            // An error would be a failure too, and is none here.
            _ = try? await redis.transaction([["INCR", "{a}:n"], ["INCR", "{b}:n"]])
        }
    }

    @Test("a script whose keys are in two slots traps")
    func slotsOfScript() async {
        await #expect(processExitsWith: .failure) {
            let redis = await RedisClient(RedisConfiguration())
            _ = try? await redis.run(RedisScript("return 1"), keys: ["{a}:n", "{b}:n"])
        }
    }

    @Test("a subscription among the commands traps, as its answers would shift the others'")
    func subscriptionAsCommand() async {
        await #expect(processExitsWith: .failure) {
            guard let server = try? await PrivateRedis.start() else { return }
            let redis = await RedisClient(RedisConfiguration(endpoint: server.endpoint))
            try? await redis.start()
            _ = try? await redis.send(["subscribe", "news"])
        }
    }

    @Test("an array above the limit, of elements far below it, ends the connection too")
    func hugeArray() async throws {
        try await withRedis { _, redis async throws in
            let script = RedisScript(
                """
                local element, all = string.rep('x', 1000000), {}
                for index = 1, tonumber(ARGV[1]) do all[index] = element end
                return all
                """
            )
            let most = RedisConnection.replyBytesLimit / 1_000_000 - 1
            let good = try await redis.run(script, keys: [], arguments: [.int(Int64(most))])
            #expect(good.array?.count == most)
            let above: [RedisArgument] = [.int(Int64(most) + 3)]
            #expect(
                await code { try await redis.run(script, keys: [], arguments: above) }
                    == .protocolViolation
            )
            #expect(try await eventually { redis.isConnected })
        }
    }

    @Test("an answer above the limit ends the connection, and the next one works")
    func hugeAnswer() async throws {
        try await withRedis { _, redis async throws in
            let size = Int64(RedisConnection.replyBytesLimit) + 1_000_000
            _ = try await redis.send(["SETRANGE", "huge", .int(size), "x"])
            #expect(await code { try await redis.send(["GET", "huge"]) } == .protocolViolation)
            #expect(try await eventually { redis.isConnected })
            #expect(try await redis.send(["STRLEN", "huge"]) == .int(size + 1))
        }
    }
}
