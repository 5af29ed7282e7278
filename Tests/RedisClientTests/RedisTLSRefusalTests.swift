import EventLoop
import Foundation
import TestSupport
import Testing

@testable import RedisClient

@Suite(
    "What Redis over TLS refuses",
    .serialized,
    .enabled(if: PrivateRedis.isAvailable && TestAuthority.isAvailable, "needs redis, openssl"),
    .timeLimit(.minutes(2))
)
@LoopActor
struct RedisTLSRefusalTests {
    /// How the first attempt to connect fails; nil when it does not.
    private func failure(
        _ url: String,
        trusting authority: TestAuthority? = nil,
        showing certificate: TestCertificate? = nil,
        within limit: Duration = .seconds(10)
    ) async throws -> RedisError? {
        var configuration = try RedisConfiguration(
            url: url,
            files: RedisTLS.Files(
                authorities: authority?.file,
                certificate: certificate?.file,
                key: certificate?.key
            )
        )
        configuration.attemptTimeout = limit
        let client = RedisClient(configuration)
        var failure: RedisError?
        do { try await client.start() } catch { failure = error }
        #expect(client.isConnected == (failure == nil))
        await client.stop()
        return failure
    }

    @Test("an unknown authority, another's name and an expired certificate, each in words")
    func certificates() async throws {
        let authority = try await TestAuthority()
        let stranger = try await TestAuthority()
        defer { for one in [authority, stranger] { one.remove() } }
        let shown = try await authority.sign("DNS:localhost")
        let server = try await PrivateRedis.start(showing: shown)
        let url = "rediss://localhost:\(server.port)"
        #expect(try await failure(url, trusting: authority) == nil)

        let unknown = try await failure(url, trusting: stranger)
        #expect(unknown?.code == .notConnected)
        #expect(unknown?.message.contains("certificate of localhost is refused") == true)
        #expect(unknown?.message.contains("self-signed certificate in") == true)
        let unlisted = try await failure(url)
        #expect(unlisted?.message.contains("certificate of localhost is refused") == true)

        let address = try await failure("rediss://127.0.0.1:\(server.port)", trusting: authority)
        #expect(address?.message.contains("IP address mismatch") == true, "\(address as Any)")
        await server.stop()

        let other = try await PrivateRedis.start(
            showing: try await authority.sign("DNS:example.com,IP:127.0.0.1")
        )
        #expect(try await failure("rediss://127.0.0.1:\(other.port)", trusting: authority) == nil)
        let name = try await failure("rediss://localhost:\(other.port)", trusting: authority)
        #expect(name?.message.contains("hostname mismatch") == true, "\(name as Any)")
        await other.stop()

        let old = try await PrivateRedis.start(
            showing: try await authority.sign("DNS:localhost", days: -1)
        )
        let expired = try await failure("rediss://localhost:\(old.port)", trusting: authority)
        #expect(expired?.message.contains("certificate has expired") == true, "\(expired as Any)")
        await old.stop()
    }

    @Test("a server that demands a certificate takes the right one only, and says so")
    func clientCertificate() async throws {
        let authority = try await TestAuthority()
        let stranger = try await TestAuthority()
        defer { for one in [authority, stranger] { one.remove() } }
        let server = try await PrivateRedis.start(
            ["--tls-auth-clients", "yes"],
            showing: try await authority.sign("DNS:localhost")
        )
        let url = "rediss://localhost:\(server.port)"
        let own = try await authority.sign("DNS:client")
        #expect(try await failure(url, trusting: authority, showing: own) == nil)

        let none = try await failure(url, trusting: authority)
        #expect(none?.message.contains("certificate required") == true, "\(none as Any)")
        #expect(none?.message.contains("REDIS_TLS_CERT_FILE") == true)
        let wrong = try await stranger.sign("DNS:client")
        let unknown = try await failure(url, trusting: authority, showing: wrong)
        #expect(unknown?.message.contains("unknown ca") == true, "\(unknown as Any)")
        await server.stop()
    }

    @Test("a version of TLS before 1.2 is refused")
    func oldVersion() async throws {
        let authority = try await TestAuthority()
        defer { authority.remove() }
        let server = try await PrivateRedis.start(
            ["--tls-protocols", "TLSv1.1", "--tls-ciphers", "DEFAULT@SECLEVEL=0"],
            showing: try await authority.sign("DNS:localhost")
        )
        let error = try await failure("rediss://localhost:\(server.port)", trusting: authority)
        #expect(error?.code == .notConnected)
        #expect(error?.message.contains("TLS handshake") == true, "\(error as Any)")
        await server.stop()
    }

    @Test("plain text where TLS is expected, and TLS where plain text is, end in bounded time")
    func otherProtocol() async throws {
        let plain = try await PrivateRedis.start()
        let begun = MonotonicTime.now()
        let silent = try await failure(
            "rediss://127.0.0.1:\(plain.port)",
            within: .milliseconds(500)
        )
        #expect(silent?.code == .notConnected)
        #expect(silent?.message.contains("TLS") == true, "\(silent as Any)")
        await plain.stop()

        let authority = try await TestAuthority()
        defer { authority.remove() }
        let shown = try await authority.sign("DNS:localhost")
        let server = try await PrivateRedis.start(showing: shown)
        let error = try await failure("redis://localhost:\(server.port)", within: .seconds(3))
        #expect(error?.message.contains("rediss://") == true, "\(error as Any)")
        #expect(error?.countsAsDown == true)
        #expect(MonotonicTime.now() - begun < .seconds(20))
        await server.stop()
    }

    @Test("a server that answers the handshake in plain words is told from one with TLS")
    func plainAnswer() async throws {
        let server = try await PrivateRedis.start(["--maxclients", "1"])
        let first = RedisClient(RedisConfiguration(endpoint: server.endpoint))
        try await first.start()
        // It says "-ERR max number of clients reached" before it reads a byte.
        let error = try await failure("rediss://127.0.0.1:\(server.port)")
        #expect(error?.code == .notConnected)
        #expect(error?.message.contains("speaks no TLS") == true, "\(error as Any)")
        await first.stop()
        await server.stop()
    }

    @Test("a file that is missing, empty, a folder or of another kind is named with its variable")
    func files() async throws {
        let authority = try await TestAuthority()
        defer { authority.remove() }
        let good = try await authority.sign("DNS:client")
        let other = try await authority.sign("DNS:other")
        let empty = authority.path("empty")
        let words = authority.path("words")
        let encrypted = authority.path("encrypted")
        try Data().write(to: URL(fileURLWithPath: empty))
        try Data("no certificate".utf8).write(to: URL(fileURLWithPath: words))
        try await authority.encrypt(good.key, to: encrypted)
        typealias Case = (files: RedisTLS.Files, variable: String, words: String)
        let cases: [Case] = [
            (RedisTLS.Files(authorities: "/no/file"), "REDIS_TLS_CA_FILE", "No such file"),
            (RedisTLS.Files(authorities: empty), "REDIS_TLS_CA_FILE", "it is empty"),
            (RedisTLS.Files(authorities: "/tmp"), "REDIS_TLS_CA_FILE", "Is a directory"),
            (RedisTLS.Files(authorities: words), "REDIS_TLS_CA_FILE", "no certificate in PEM"),
            (RedisTLS.Files(certificate: good.file), "REDIS_TLS_KEY_FILE", "is missing"),
            (RedisTLS.Files(key: good.key), "REDIS_TLS_CERT_FILE", "is missing"),
            (
                RedisTLS.Files(certificate: good.file, key: "/no/key"), "REDIS_TLS_KEY_FILE",
                "No such file"
            ),
            (
                RedisTLS.Files(certificate: words, key: good.key), "REDIS_TLS_CERT_FILE",
                "no certificate in PEM"
            ),
            (
                RedisTLS.Files(certificate: good.file, key: encrypted), "REDIS_TLS_KEY_FILE",
                "without a passphrase"
            ),
            (
                RedisTLS.Files(certificate: good.file, key: other.key), "REDIS_TLS_KEY_FILE",
                "is not the key"
            ),
        ]
        for one in cases {
            let error = #expect(throws: RedisConfigurationError.self) {
                try RedisConfiguration(url: "rediss://h", files: one.files)
            }
            #expect(error?.variable == one.variable, "\(error as Any)")
            #expect(error?.message.contains(one.words) == true, "\(error as Any)")
        }
        let files = RedisTLS.Files(
            authorities: authority.file,
            certificate: good.file,
            key: good.key
        )
        #expect(try RedisConfiguration(url: "rediss://h", files: files).tls != nil)
    }
}
