import Testing

@testable import RedisClient

@Suite("Greeting")
struct GreetingTests {
    private static let memory = RedisValue.string(
        Array("# Memory\r\nmaxmemory:1048576\r\nmaxmemory_policy:allkeys-lru\r\n".utf8)
    )

    private static func server(_ version: String) -> RedisValue {
        .string(Array("# Server\r\nredis_version:\(version)\r\nos:Linux\r\n".utf8))
    }

    @Test("it says who it is, then where it wants to be, then asks")
    func commands() {
        var configuration = RedisConfiguration()
        #expect(Greeting(configuration).commands == [["INFO", "server"], ["INFO", "memory"]])
        configuration.password = "p"
        #expect(Greeting(configuration).commands.first == ["AUTH", "p"])
        configuration.username = "u"
        configuration.clientName = "switchboard"
        configuration.database = 3
        #expect(
            Greeting(configuration).commands == [
                ["AUTH", "u", "p"], ["CLIENT", "SETNAME", "switchboard"], ["SELECT", 3],
                ["INFO", "server"], ["INFO", "memory"],
            ]
        )
    }

    @Test("it learns version and policy")
    func facts() throws {
        let facts = try Greeting(RedisConfiguration())
            .facts(from: [GreetingTests.server("7.0.15"), GreetingTests.memory])
        #expect(
            facts
                == RedisServerFacts(
                    version: "7.0.15",
                    maxMemoryPolicy: "allkeys-lru",
                    maxMemory: 1_048_576
                )
        )
        #expect(facts.mayEvict)
    }

    @Test("a closed INFO memory leaves the policy unknown, which is no reason to warn")
    func unknownPolicy() throws {
        let facts = try Greeting(RedisConfiguration())
            .facts(from: [GreetingTests.server("8.2.0"), .error("NOPERM no")])
        #expect(facts.maxMemoryPolicy == nil)
        #expect(!facts.mayEvict)
    }

    @Test(
        "versions before 7.0 are refused by name",
        arguments: [
            ("6.2.14", false), ("7.0.0", true), ("7.2.4", true), ("10.0.1", true), ("x", false),
        ]
    )
    func versions(version: String, isGood: Bool) {
        let greeting = Greeting(RedisConfiguration())
        let facts = Result { () throws(RedisError) in
            try greeting.facts(from: [GreetingTests.server(version), GreetingTests.memory])
        }
        switch facts {
        case .success(let facts): #expect(isGood && facts.version == version)
        case .failure(let error):
            #expect(!isGood)
            #expect(error.code == .unsupportedServer)
            #expect(error.message.contains(version))
            #expect(error.message.contains("7.0 or later"))
        }
    }

    @Test("refusals are told apart")
    func refusals() {
        var configuration = RedisConfiguration()
        configuration.password = "p"
        configuration.database = 99
        let ok = RedisValue.status("OK")
        let server = GreetingTests.server("7.0.15")
        let memory = GreetingTests.memory
        let rows: [([RedisValue], RedisError.Code, String)] = [
            (
                [.error("WRONGPASS invalid"), .error("NOAUTH x"), .error("NOAUTH x"), .null],
                .authentication, "WRONGPASS"
            ),
            ([.error("ERR AUTH called without"), ok, server, memory], .authentication, "ERR AUTH"),
            ([ok, .error("ERR DB index is out of range"), server, memory], .server, "DB index"),
            ([ok, ok, .error("LOADING Redis is"), memory], .unavailable, "LOADING"),
            ([ok, ok, .status("?"), memory], .unsupportedServer, "redis_version"),
        ]
        for (answers, code, words) in rows {
            let error = #expect(throws: RedisError.self) {
                try Greeting(configuration).facts(from: answers)
            }
            #expect(error?.code == code)
            #expect(error?.message.contains(words) == true)
        }
    }
}
