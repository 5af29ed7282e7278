import Testing

@testable import RedisClient

@Suite("The parts of a cluster's client")
struct ClusterPartsTests {
    private static let asked = RedisConfiguration.Endpoint.tcp(host: "asked", port: 7)

    private func node(_ first: Int64, _ last: Int64, _ host: RedisValue) -> RedisValue {
        .array([.int(first), .int(last), .array([host, .int(17), .string([])])])
    }

    @Test("slots are learnt from an answer, and one that moved from a redirection")
    func slots() throws {
        let answer = RedisValue.array([
            node(0, 99, .string(Array("a".utf8))), node(100, 16_382, .string([])),
            node(5, 4, .string(Array("b".utf8))), node(-1, 3, .string(Array("c".utf8))),
            node(16_383, 16_384, .string(Array("d".utf8))), .int(5),
        ])
        var slots = try ClusterSlots(answer, of: Self.asked)
        let (a, own) = (
            RedisConfiguration.Endpoint.tcp(host: "a", port: 17),
            RedisConfiguration.Endpoint.tcp(host: "asked", port: 17)
        )
        #expect(slots.primaries == [a, own])
        #expect(slots.owner(of: 99) == a && slots.owner(of: 100) == own)
        #expect(slots.owner(of: 16_383) == nil && !slots.isComplete)
        slots.move(16_383, to: a)
        #expect(slots.owner(of: 16_383) == a && slots.isComplete)
        slots.move(16_384, to: a)
        #expect(slots.owner(of: 16_384) == nil && slots.owner(of: -1) == nil)
        for bad in [RedisValue.array([]), .null, .error("CLUSTERDOWN x")] {
            let error = #expect(throws: RedisError.self) { try ClusterSlots(bad, of: Self.asked) }
            #expect(error?.countsAsDown == true)
        }
    }

    @Test(
        "redirections are read, with the host that a node leaves out",
        arguments: [
            (
                "MOVED 7 10.0.0.1:6381",
                Redirection.moved(slot: 7, to: .tcp(host: "10.0.0.1", port: 6381))
            ),
            ("MOVED 7 :6381", .moved(slot: 7, to: .tcp(host: "asked", port: 6381))),
            ("ASK 7 ::1:6381", .ask(.tcp(host: "::1", port: 6381))),
            ("TRYAGAIN Multiple keys request", .tryAgain),
            ("MOVED 7 h:0", nil), ("MOVED x h:1", nil), ("MOVED 7", nil), ("ASKING", nil),
            ("CLUSTERDOWN Hash slot not served", nil), ("ERR MOVED 7 h:1", nil),
        ] as [(String, Redirection?)]
    )
    func redirections(message: String, redirection: Redirection?) {
        #expect(Redirection(message, from: Self.asked) == redirection)
    }

    @Test(
        "a command goes by its key, wherever that stands",
        arguments: [
            ["GET", "k"], ["set", "k", "v"], ["XADD", "k", "*"], ["XINFO", "GROUPS", "k"],
            ["XGROUP", "CREATE", "k", "g"], ["OBJECT", "ENCODING", "k"],
            ["EVALSHA", "digest", "2", "k", "{k}2", "a"], ["EVAL", "text", 1, "k"],
            ["XREAD", "COUNT", "1", "STREAMS", "k", "$"], ["BZPOPMIN", "k", "0"],
            ["XREADGROUP", "GROUP", "streams2", "c", "BLOCK", 1, "streams", "k", ">"],
            ["MGET", "k", "{k}2"], ["DEL", "k"], ["ZDIFF", "1", "k"],
            ["BLMPOP", "0", "1", "k", "LEFT"], [.string("GET"), .bytes(Array("k".utf8))],
        ] as [[RedisArgument]]
    )
    func keys(command: [RedisArgument]) {
        #expect(CommandRoute(command) == .slot(RedisKeySlot.slot(of: "k")))
    }

    @Test(
        "other commands go to one node, to all, or apart",
        arguments: [
            (["PING"], .anywhere), (["SCRIPT", "LOAD", "x"], .anywhere), (["GET"], .anywhere),
            (["EVAL", "return 1", "0"], .anywhere), (["XREAD", "STREAMS"], .anywhere),
            (["PUBLISH", "k", "m"], .near(RedisKeySlot.slot(of: "k"))),
            (["FLUSHALL"], .everywhere(.first)), (["DBSIZE"], .everywhere(.sum)),
            (["MGET", "a", "b"], .apart(.list)), (["UNLINK", "a", "b"], .apart(.sum)),
        ] as [([RedisArgument], CommandRoute)]
    )
    func others(command: [RedisArgument], route: CommandRoute) {
        #expect(CommandRoute(command) == route)
    }

    @Test("a tag in bytes counts as one in text does")
    func bytes() {
        for key in ["k", "{t}:k", "a{t}b{u}", "{}k", "{t", ""] {
            #expect(RedisKeySlot.slot(of: .bytes(Array(key.utf8))) == RedisKeySlot.slot(of: key))
        }
    }

    @Test("answers are joined, and an error is the answer")
    func joining() {
        let joined = CommandRoute.Joining.sum.joined([.int(1), .int(2)])
        #expect(joined == .int(3))
        let list = CommandRoute.Joining.list.joined([.array([.null]), .array([.int(1)])])
        #expect(list == .array([.null, .int(1)]))
        #expect(CommandRoute.Joining.list.joined([.array([]), .error("E")]) == .error("E"))
    }

    @Test("what a cluster's servers told is the worst of it")
    func facts() {
        let old = RedisServerFacts(version: "7.0.15", maxMemoryPolicy: "noeviction", maxMemory: 0)
        let new = RedisServerFacts(version: "7.10.1", maxMemoryPolicy: "allkeys-lru", maxMemory: 9)
        for facts in [old.worst(with: new), new.worst(with: old)] {
            #expect(facts.version == "7.0.15" && facts.mayEvict && facts.maxMemory == 9)
        }
    }
}
