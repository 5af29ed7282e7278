import EventLoop
import RedisClient
import Testing

@testable import Platform

@Suite("ApiKey")
struct ApiKeyTests {
    @Test("a made key reads back, and its digest is not its secret")
    func made() throws {
        let key = ApiKey.make()
        let again = try #require(ApiKey(parsing: key.reveal()))
        #expect(again.keyID == key.keyID)
        #expect(again.digest == key.digest)
        #expect(key.digest.count == 32)
        #expect(ApiKey.make().digest != key.digest)
    }

    @Test(
        "what has not the form of a key is none",
        arguments: [
            "", "sb", "sb_", "sb_a", "sb_a_short", "xx_a_0123456789abcdef", "sb__0123456789abcdef",
            "sb_a_0123456789abcdef_b", "sb_a_0123456789abcde\u{0}", "sb_a_0123456789abcd f",
        ]
    )
    func malformed(text: String) {
        #expect(ApiKey(parsing: text) == nil)
    }

    @Test("comparing takes all bytes into account")
    func comparing() {
        #expect(constantTimeEquals([1, 2, 3], [1, 2, 3]))
        #expect(!constantTimeEquals([1, 2, 3], [1, 2, 4]))
        #expect(!constantTimeEquals([1, 2, 3], [1, 2]))
    }
}

@Suite("Settings")
struct SettingsTests {
    enum Level: String, CaseIterable { case low, high }

    @Test("every fault is told at once")
    func faults() throws {
        var settings = Settings(environment: ["PORT": "x", "LEVEL": "mid", "EMPTY": ""])
        _ = settings.required("DATABASE_URL", "where the database is")
        _ = settings.required("EMPTY", "something")
        _ = settings.integer("PORT", default: 1, in: 0...9)
        _ = settings.choice("LEVEL", default: Level.low)
        let error = #expect(throws: SettingsError.self) { try settings.check() }
        #expect(error?.faults.count == 4)
        for name in ["DATABASE_URL", "EMPTY", "PORT", "LEVEL"] {
            #expect(error?.description.contains(name) == true)
        }
    }

    @Test("absent settings have their defaults")
    func defaults() throws {
        var settings = Settings(environment: ["WINDOW_MS": "250", "ON": "yes"])
        let port = settings.integer("PORT", default: 8081, in: 0...65535)
        let window = settings.milliseconds("WINDOW_MS", default: 1)
        let level = settings.choice("LEVEL", default: Level.low)
        let (on, off) = (settings.flag("ON", default: false), settings.flag("OFF", default: false))
        #expect(port == 8081)
        #expect(window == .milliseconds(250))
        #expect(level == .low)
        #expect(on && !off)
        try settings.check()
    }

    @Test("a .env file is read; comments and quotes are not values")
    func dotEnv() {
        let values = Settings.parse(dotEnv: "# note\nA=1\nB=\"two words\"\nC='x=y'\n\nbad line\n")
        #expect(values == ["A": "1", "B": "two words", "C": "x=y"])
    }
}

@Suite("ServiceConfiguration")
struct ServiceConfigurationTests {
    @Test("a service without its secrets names all that is missing")
    func missing() {
        let error = #expect(throws: SettingsError.self) {
            var settings = Settings(environment: [:])
            _ = try ServiceConfiguration(
                name: "messaging",
                defaultPort: 8081,
                redisDefault: .optional,
                settings: &settings
            )
        }
        for name in ["DATABASE_URL", "SERVICE_TOKEN", "SECRETS_KEY"] {
            #expect(error?.description.contains(name) == true)
        }
    }

    @Test("the claim of an idempotency key holds for 35 s unless set otherwise")
    func idempotencyLease() throws {
        #expect(try configuration([:]).idempotencyLease == .seconds(35))
        let short = try configuration(["IDEMPOTENCY_LEASE_MS": "1500"])
        #expect(short.idempotencyLease == .milliseconds(1500))
        #expect(throws: SettingsError.self) {
            try configuration(["IDEMPOTENCY_LEASE_MS": "0"])
        }
    }

    private func configuration(_ more: [String: String]) throws -> ServiceConfiguration {
        let complete = [
            "DATABASE_URL": "postgres://u:p@127.0.0.1:5432/d", "SERVICE_TOKEN": "t",
            "SECRETS_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        ]
        var settings = Settings(environment: complete.merging(more) { $1 })
        return try ServiceConfiguration(
            name: "messaging",
            defaultPort: 8081,
            redisDefault: .optional,
            settings: &settings
        )
    }
}
