import Testing

@testable import RedisClient

@Suite("RedisURL")
struct RedisURLTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let text: String
        var host = "h"
        var port = 6379
        var path: String?
        var user: String?
        var password: String?
        var database = 0
        var testDescription: String { text }
    }

    static let good = [
        Row(text: "redis://h"),
        Row(text: "redis://h/"),
        Row(text: "REDIS://h"),
        Row(text: "redis://h:7000", port: 7000),
        Row(text: "redis://h:7000/3", port: 7000, database: 3),
        Row(text: "redis://:secret@h", password: "secret"),
        Row(text: "redis://me:secret@h/15", user: "me", password: "secret", database: 15),
        Row(text: "redis://me@h", user: "me"),
        Row(text: "redis://:p%40ss%3A%2F@h", password: "p@ss:/"),
        Row(text: "redis://:p@ss:w@h", password: "p@ss:w"),
        Row(text: "redis://:@h"),
        Row(text: "redis://", host: "localhost"),
        Row(text: "redis://:6380", host: "localhost", port: 6380),
        Row(text: "redis://[::1]", host: "::1"),
        Row(
            text: "redis://:pw@[fe80::1]:7001/2",
            host: "fe80::1",
            port: 7001,
            password: "pw",
            database: 2
        ),
        Row(text: "unix:///run/redis.sock", path: "/run/redis.sock"),
        Row(
            text: "unix://me:pw@/run/my%20redis?db=4",
            path: "/run/my redis",
            user: "me",
            password: "pw",
            database: 4
        ),
    ]

    @Test("two s ask for TLS, and nothing else does")
    func secured() throws {
        for text in ["rediss://h/2", "REDISS://h", "rediss+sentinel://h/p", "rediss+cluster://h"] {
            #expect(try RedisURL(text, variable: "X").isSecure, "\(text)")
        }
        for text in ["redis://rediss", "unix:///s", "redis+sentinel://h/p", "redis+cluster://h"] {
            #expect(try !RedisURL(text, variable: "X").isSecure, "\(text)")
        }
        let watched = try RedisURL("rediss+sentinel://a,b:1/prime/3", variable: "X")
        let plain = try RedisURL("redis+sentinel://a,b:1/prime/3", variable: "X")
        #expect(watched.directory == plain.directory && watched.database == 3)
    }

    typealias Endpoint = RedisConfiguration.Endpoint

    @Test("a URL of sentinels names them, the primary, and how to reach it")
    func sentinels() throws {
        let url = try RedisURL("redis+sentinel://me:pw@a,b:7000,[::1]/prime/3", variable: "X")
        let members: [Endpoint] = [
            .tcp(host: "a", port: 26_379), .tcp(host: "b", port: 7000),
            .tcp(host: "::1", port: 26_379),
        ]
        #expect(url.directory == .sentinels(members, service: "prime"))
        #expect(url.username == "me" && url.password == "pw" && url.database == 3)
    }

    @Test("a URL of a cluster names nodes")
    func cluster() throws {
        let url = try RedisURL("redis+cluster://:pw@a,b:7000/", variable: "X")
        let members: [Endpoint] = [.tcp(host: "a", port: 6379), .tcp(host: "b", port: 7000)]
        #expect(url.directory == .cluster(members) && url.password == "pw")
    }

    @Test("a good URL is taken apart", arguments: good)
    func parts(row: Row) throws {
        let url = try RedisURL(row.text, variable: "X")
        let endpoint = row.path.map { RedisConfiguration.Endpoint.unix(path: $0) }
        #expect(url.endpoint == endpoint ?? .tcp(host: row.host, port: row.port))
        #expect(url.username == row.user)
        #expect(url.password == row.password)
        #expect(url.database == row.database)
    }

    @Test(
        "a bad URL is refused with its variable and reason, without the password",
        arguments: [
            ("localhost:6379", "is not a URL"),
            ("http://h", "has the scheme 'http'"),
            ("rediss+unix:///run/redis.sock", "rediss:// (TLS)"),
            ("rediss://:secret@h:port", "'port'"),
            ("redis://:secret@h:port", "'port'"),
            ("redis://h:0", "1 to 65535"),
            ("redis://h:65536", "1 to 65535"),
            ("redis://h:+1", "1 to 65535"),
            ("redis://:secret@h/x", "database 'x'"),
            ("redis://h/-1", "database '-1'"),
            ("redis://h/+1", "database '+1'"),
            ("redis://h/1/2", "database '1/2'"),
            ("redis://h?db=1", "query"),
            ("redis://::1", "in brackets"),
            ("redis://[::1", "closing bracket"),
            ("redis://[::1]7000", "other than a port"),
            ("redis://:secret%4@h", "password with a broken percent escape"),
            ("redis://:secret%+1@h", "password with a broken percent escape"),
            ("redis://:secret%ff@h", "password with a broken percent escape"),
            ("unix://", "has no path"),
            ("unix://h/run/redis.sock", "has a host"),
            ("unix:///run/redis.sock?x=1", "db=number"),
            ("redis+sentinel://:secret@a,b", "no primary's name"),
            ("redis+sentinel://a,b:0/prime", "1 to 65535"),
            ("redis+sentinel://a/prime/x", "database 'x'"),
            ("redis+cluster://a,b/1", "has a database"),
            ("unix:///" + String(repeating: "a", count: 107), "over 107 bytes"),
        ]
    )
    func refusals(text: String, reason: String) {
        let error = #expect(throws: RedisConfigurationError.self) {
            try RedisURL(text, variable: "REDIS_CACHE_URL")
        }
        #expect(error?.variable == "REDIS_CACHE_URL")
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
        #expect(error?.description.contains("secret") == false)
    }
}
