import EventLoop
import Testing

@testable import RedisClient

@Suite("RedisConfiguration")
struct RedisConfigurationTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let environment: [String: String]
        var serviceDefault = RedisConfiguration.Mode.required
        var purpose = RedisConfiguration.Purpose.general
        var mode = RedisConfiguration.Mode.required
        var isProbe = false
        var host = "localhost"
        var port = 6379
        var password: String?
        var database = 0
        var testDescription: String { "\(environment.sorted { $0 < $1 }) \(serviceDefault)" }
    }

    static let rows = [
        Row(environment: [:], mode: .optional, isProbe: true),
        Row(environment: [:], serviceDefault: .optional, mode: .optional, isProbe: true),
        Row(environment: ["REDIS_URL": "", "REDIS_HOST": ""], mode: .optional, isProbe: true),
        Row(environment: ["REDIS_PORT": "7000"], mode: .optional, isProbe: true, port: 7000),
        Row(environment: ["REDIS_PASSWORD": "p"], mode: .optional, isProbe: true, password: "p"),
        Row(environment: ["REDIS_MODE": "required"]),
        Row(environment: ["REDIS_MODE": "optional"], mode: .optional, isProbe: true),
        Row(environment: ["REDIS_MODE": "disabled"], mode: .disabled, isProbe: true),
        Row(environment: ["REDIS_HOST": "h"], host: "h"),
        Row(
            environment: ["REDIS_HOST": "h"],
            serviceDefault: .optional,
            mode: .optional,
            host: "h"
        ),
        Row(
            environment: ["REDIS_HOST": "h", "REDIS_PORT": "7000", "REDIS_PASSWORD": "p"],
            host: "h",
            port: 7000,
            password: "p"
        ),
        Row(
            environment: ["REDIS_HOST": "h", "REDIS_MODE": "Optional"],
            mode: .optional,
            host: "h"
        ),
        Row(
            environment: ["REDIS_HOST": "h", "REDIS_MODE": "disabled"],
            mode: .disabled,
            host: "h"
        ),
        Row(environment: ["REDIS_URL": "redis://u/5"], host: "u", database: 5),
        Row(
            environment: ["REDIS_URL": "redis://u"],
            serviceDefault: .optional,
            mode: .optional,
            host: "u"
        ),
        Row(
            environment: ["REDIS_URL": "redis://u", "REDIS_HOST": "h", "REDIS_PORT": "1"],
            host: "u"
        ),
        Row(
            environment: ["REDIS_URL": "redis://u", "REDIS_PASSWORD": "p"],
            host: "u",
            password: "p"
        ),
        Row(
            environment: ["REDIS_URL": "redis://:own@u", "REDIS_PASSWORD": "p"],
            host: "u",
            password: "own"
        ),
        Row(
            environment: ["REDIS_URL": "redis://u", "REDIS_CACHE_URL": "redis://c"],
            host: "u"
        ),
        Row(
            environment: ["REDIS_URL": "redis://u", "REDIS_CACHE_URL": "redis://c"],
            purpose: .cache,
            host: "c"
        ),
        Row(environment: ["REDIS_URL": "redis://u"], purpose: .cache, host: "u"),
        Row(
            environment: ["REDIS_HOST": "h", "REDIS_QUEUE_URL": "redis://q"],
            purpose: .queue,
            host: "q"
        ),
        Row(environment: ["REDIS_HOST": "h", "REDIS_QUEUE_URL": ""], purpose: .queue, host: "h"),
    ]

    @Test("the environment decides mode, server and password", arguments: rows)
    func environment(row: Row) throws {
        let configuration = try RedisConfiguration(
            environment: row.environment,
            serviceDefault: row.serviceDefault,
            purpose: row.purpose
        )
        #expect(configuration.mode == row.mode)
        #expect(configuration.isProbe == row.isProbe)
        #expect(configuration.endpoint == .tcp(host: row.host, port: row.port))
        #expect(configuration.password == row.password)
        #expect(configuration.database == row.database)
        #expect(configuration.attemptTimeout == .milliseconds(row.isProbe ? 500 : 1000))
        #expect(configuration.deadline == .milliseconds(250))
    }

    @Test(
        "an error names the variable at fault",
        arguments: [
            (["REDIS_MODE": "maybe"], "REDIS_MODE"),
            (["REDIS_PORT": "x", "REDIS_HOST": "h"], "REDIS_PORT"),
            (["REDIS_PORT": "0"], "REDIS_PORT"),
            (["REDIS_URL": "redis://h", "REDIS_TLS_CA_FILE": "/ca"], "REDIS_TLS_CA_FILE"),
            (["REDIS_HOST": "h", "REDIS_TLS_KEY_FILE": "/key"], "REDIS_TLS_KEY_FILE"),
            (["REDIS_URL": "rediss://h", "REDIS_TLS_CA_FILE": "/no/ca"], "REDIS_TLS_CA_FILE"),
            (["REDIS_URL": "rediss://h", "REDIS_TLS_CERT_FILE": "/c"], "REDIS_TLS_KEY_FILE"),
            (["REDIS_URL": "rediss://h", "REDIS_TLS_KEY_FILE": "/k"], "REDIS_TLS_CERT_FILE"),
            (["REDIS_URL": "redis://user@h"], "REDIS_URL"),
            (["REDIS_URL": "redis://h", "REDIS_CACHE_URL": "c"], "REDIS_CACHE_URL"),
            (["REDIS_URL": "redis+cluster://h/1"], "REDIS_URL"),
        ]
    )
    func errors(environment: [String: String], variable: String) {
        let error = #expect(throws: RedisConfigurationError.self) {
            try RedisConfiguration(
                environment: environment,
                serviceDefault: .required,
                purpose: .cache
            )
        }
        #expect(error?.variable == variable)
        #expect(error?.description.hasPrefix("\(variable): ") == true)
    }

    @Test("sentinels have a password of their own, and everything may be on a cluster")
    func directories() throws {
        let watched = try RedisConfiguration(
            environment: [
                "REDIS_URL": "redis+sentinel://:pw@s/prime", "REDIS_SENTINEL_PASSWORD": "own",
            ],
            serviceDefault: .required
        )
        #expect(watched.password == "pw" && watched.sentinelPassword == "own")
        #expect("\(watched)" == "the primary 'prime' of s:26379/0 required")
        for purpose in [RedisConfiguration.Purpose.general, .cache, .queue] {
            let clustered = try RedisConfiguration(
                environment: ["REDIS_URL": "redis+cluster://c"],
                serviceDefault: .required,
                purpose: purpose
            )
            #expect(clustered.isCluster && clustered.slot == nil)
            #expect(clustered.serving("{bull}:q:").slot == RedisKeySlot.slot(of: "bull"))
        }
    }

    @Test("TLS and plain text on one port are two servers; a plain URL beside one with TLS is fine")
    func secured() throws {
        let environment = ["REDIS_URL": "rediss://h", "REDIS_CACHE_URL": "redis://h"]
        func made(_ purpose: RedisConfiguration.Purpose) throws -> RedisConfiguration {
            try RedisConfiguration(
                environment: environment,
                serviceDefault: .required,
                purpose: purpose
            )
        }
        let general = try made(.general)
        #expect(general.tls != nil)
        #expect(try made(.cache).tls == nil)
        #expect(try !made(.cache).isSameServer(as: general))
        #expect(try made(.queue).isSameServer(as: general))
    }

    @Test("a configuration shows no password")
    func description() throws {
        let configuration = try RedisConfiguration(url: "redis://me:secret@h:7000/3")
        #expect("\(configuration)" == "me@h:7000/3 required")
        #expect(String(reflecting: configuration) == "me@h:7000/3 required")
        let socket = try RedisConfiguration(url: "unix:///run/redis.sock", mode: .optional)
        #expect("\(socket)" == "/run/redis.sock/0 optional")
    }
}
