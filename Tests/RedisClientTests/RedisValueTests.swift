import Testing

@testable import RedisClient

@Suite("RedisValue and RedisError")
struct RedisValueTests {
    @Test("each kind gives what it holds and nothing else")
    func accessors() {
        let text = RedisValue.string(Array("12".utf8))
        #expect(text.text == "12")
        #expect(text.integer == 12)
        #expect(text.bytes == Array("12".utf8))
        #expect(RedisValue.string([0xff]).text == nil)
        #expect(RedisValue.string([0xff]).bytes == [0xff])
        #expect(RedisValue.status("OK").text == "OK")
        #expect(RedisValue.status("12").integer == nil)
        #expect(RedisValue.int(-3).integer == -3)
        #expect(RedisValue.int(3).text == nil)
        #expect(RedisValue.null.isNull)
        #expect(RedisValue.null.text == nil)
        #expect(RedisValue.error("ERR x").errorMessage == "ERR x")
        #expect(RedisValue.array([.null]).array == [.null])
        #expect(RedisValue.array([]).text == nil)
    }

    @Test("pairs leave out a last element without a partner")
    func pairs() {
        let value = RedisValue.array([.int(1), .int(2), .int(3), .int(4), .int(5)])
        #expect(value.pairs.map(\.0) == [.int(1), .int(3)])
        #expect(value.pairs.map(\.1) == [.int(2), .int(4)])
        #expect(RedisValue.array([.int(1)]).pairs.isEmpty)
        #expect(RedisValue.array([]).pairs.isEmpty)
        #expect(RedisValue.null.pairs.isEmpty)
    }

    @Test(
        "what a server refuses counts as down when it could serve nobody",
        arguments: [
            ("OOM command not allowed", RedisError.Code.unavailable, true),
            ("READONLY You can't write", .unavailable, true),
            ("LOADING Redis is loading", .unavailable, true),
            ("MISCONF Redis is configured", .unavailable, true),
            ("CLUSTERDOWN Hash slot not served", .unavailable, true),
            ("MASTERDOWN Link with MASTER is down", .unavailable, true),
            ("NOREPLICAS Not enough good replicas", .unavailable, true),
            ("BUSY Redis is busy running a script", .unavailable, true),
            ("NOAUTH Authentication required.", .authentication, true),
            ("WRONGPASS invalid username-password pair", .authentication, true),
            ("WRONGTYPE Operation against a key", .server, false),
            ("NOSCRIPT No matching script.", .server, false),
            ("BUSYGROUP Consumer Group name already exists", .server, false),
            ("MOVED 866 127.0.0.1:7001", .server, false),
            ("ERR unknown command", .server, false),
        ]
    )
    func replies(message: String, code: RedisError.Code, isDown: Bool) {
        let error = RedisError(reply: message, command: "SET")
        #expect(error.code == code)
        #expect(error.countsAsDown == isDown)
        #expect(!error.mayHaveRun)
        #expect(error.serverCode == message.split(separator: " ").first.map(String.init))
    }

    @Test(
        "what has no answer counts as down, and may have run once it was sent",
        arguments: [
            (RedisError.Code.notConnected, true, false), (.queueFull, true, false),
            (.deadline, true, true), (.connectionLost, true, true),
            (.protocolViolation, true, true), (.unsupportedServer, true, false),
            (.cancelled, false, true),
        ]
    )
    func unanswered(code: RedisError.Code, isDown: Bool, mayHaveRun: Bool) {
        let error = RedisError(code, command: "GET", message: "x")
        #expect(error.countsAsDown == isDown)
        #expect(error.mayHaveRun == mayHaveRun)
        #expect(error.serverCode == nil)
    }
}
