import Testing

@testable import PostgresClient

@Suite("PostgresURL")
struct PostgresURLTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let text: String
        let hosts: [String]
        var user: String?
        var password: String?
        var database: String?
        var target = PostgresURL.Target.any
        var testDescription: String { text }
    }

    static let good: [Row] = [
        Row(text: "postgres://localhost", hosts: ["localhost:5432"]),
        Row(
            text: "postgresql://app:secret@db:6000/shop",
            hosts: ["db:6000"],
            user: "app",
            password: "secret",
            database: "shop"
        ),
        Row(
            text: "postgresql+asyncpg://app:s@db/shop",
            hosts: ["db:5432"],
            user: "app",
            password: "s",
            database: "shop"
        ),
        Row(
            text: "postgres://a%40b:p%3A%2F%25%C3%A9@h/d%20b",
            hosts: ["h:5432"],
            user: "a@b",
            password: "p:/%é",
            database: "d b"
        ),
        Row(
            text: "postgres://u:p@ss@h/d",
            hosts: ["h:5432"],
            user: "u",
            password: "p@ss",
            database: "d"
        ),
        Row(
            text: "postgres://u@one:1,two,three:3/d",
            hosts: ["one:1", "two:5432", "three:3"],
            user: "u",
            database: "d",
            target: .readWrite
        ),
        Row(
            text: "postgres://one,two/d?target_session_attrs=any",
            hosts: ["one:5432", "two:5432"],
            database: "d"
        ),
        Row(
            text: "postgres://[::1]:99,[fe80::1]/",
            hosts: ["::1:99", "fe80::1:5432"],
            target: .readWrite
        ),
        Row(text: "postgres:///d", hosts: [":5432"], database: "d"),
        Row(
            text: "postgres://u@/d?host=/run/pg&port=7",
            hosts: ["/run/pg:7"],
            user: "u",
            database: "d"
        ),
        Row(text: "postgres://%2Frun%2Fpg/d", hosts: ["/run/pg:5432"], database: "d"),
        Row(text: "postgres://a,b,c/?port=9", hosts: ["a:9", "b:9", "c:9"], target: .readWrite),
        Row(text: "postgres://?host=a,b&port=1,2", hosts: ["a:1", "b:2"], target: .readWrite),
        Row(
            text: "postgres://h/d?user=u&password=p&dbname=other&application_name=x#fragment",
            hosts: ["h:5432"],
            user: "u",
            password: "p",
            database: "other"
        ),
    ]

    @Test("accepts what libpq, SQLAlchemy and people write", arguments: good)
    func accepted(_ row: Row) throws {
        let url = try PostgresURL(row.text)
        #expect(url.hosts.map { "\($0.name):\($0.port)" } == row.hosts)
        #expect(url.user == row.user)
        #expect(url.password?.value == row.password)
        #expect(url.database == row.database)
        #expect(url.target == row.target)
    }

    @Test(
        "refuses what it would have to guess at",
        arguments: [
            "", "localhost/db", "mysql://h/d", "postgresx://h", "postgres://h:0/d",
            "postgres://h:65536/d", "postgres://h:x/d", "postgres://[::1/d", "postgres://[::1]x/d",
            "postgres://h/%zz", "postgres://h/%4", "postgres://h/%00", "postgres://h/%ff",
            "postgres://h/d?nonsense=1", "postgres://h/d?sslmode",
            "postgres://h/d?target_session_attrs=prefer-standby",
            "postgres://h/d?connect_timeout=soon", "postgres://a,b/d?port=1,2,3",
            "postgres://" + Array(repeating: "h", count: 17).joined(separator: ","),
        ]
    )
    func refused(_ text: String) {
        #expect { try PostgresURL(text) } throws: {
            ($0 as? PostgresError)?.code == .configuration
        }
    }

    @Test("no error, description or dump shows the password")
    func secrecy() throws {
        for text in ["postgres://u:hunter2@h:x/d", "postgres://u:hunter2@h/d?no=1"] {
            do {
                _ = try PostgresURL(text)
                Issue.record("\(text) was accepted")
            } catch {
                #expect(!"\(error)".contains("hunter2"))
            }
        }
        let url = try PostgresURL("postgres://u:hunter2@h/d?sslmode=require")
        var dumped = ""
        dump(url, to: &dumped)
        for shown in ["\(url)", String(reflecting: url), dumped] {
            #expect(!shown.contains("hunter2"))
        }
    }

    @Test("asyncpg's ssl and libpq's parameters reach libpq; connect_timeout is ours")
    func parameters() throws {
        let url = try PostgresURL(
            "postgres://h/d?ssl=require&channel_binding=prefer&connect_timeout=9"
        )
        #expect(url.parameters == ["sslmode": "require", "channel_binding": "prefer"])
        #expect(url.connectTimeoutSeconds == 9)
        let configuration = try PostgresConfiguration(
            url: "postgres://h/d?connect_timeout=9",
            applicationName: "tests"
        )
        #expect(configuration.connectTimeout == .seconds(9))
    }
}

@Suite("SessionParameters")
struct SessionParametersTests {
    func words(
        _ url: String,
        _ role: ConnectionRole
    ) throws -> [String: String] {
        let configuration = try PostgresConfiguration(url: url, applicationName: "tests")
        let candidate = ConnectionCandidate(host: "db", address: "10.0.0.1", port: 6000)
        return Dictionary(uniqueKeysWithValues: configuration.keywords(role, candidate))
    }

    @Test("a session's limits follow from what its connection is for")
    func limits() throws {
        let reader = try words("postgres://u:p@db:6000/d", .reader)
        #expect(reader["hostaddr"] == "10.0.0.1")
        #expect(reader["host"] == "db")
        #expect(reader["port"] == "6000")
        #expect(reader["password"] == "p")
        #expect(reader["application_name"] == "tests")
        #expect(reader["tcp_user_timeout"] == "10000")
        let options = try #require(reader["options"])
        #expect(options.contains("-c statement_timeout=300 "))
        #expect(options.contains("-c lock_timeout=2000"))
        #expect(options.contains("-c idle_in_transaction_session_timeout=10000"))
        #expect(options.contains("-c default_transaction_read_only=on"))
        let pool = try #require(try words("postgres://u:p@db:6000/d", .pool)["options"])
        #expect(pool.contains("-c statement_timeout=5000 "))
        #expect(!pool.contains("read_only"))
        #expect(pool.contains("-c jit=off"))
        let migrator = try #require(try words("postgres://u:p@db:6000/d", .migrator)["options"])
        #expect(migrator.contains("-c statement_timeout=3600000 "))
    }

    @Test("what the URL states wins")
    func stated() throws {
        let words = try words(
            "postgres://db/d?options=-c%20lock_timeout%3D9&keepalives_idle=60&gssencmode=prefer",
            .pool
        )
        #expect(words["options"]?.hasSuffix("-c lock_timeout=9") == true)
        #expect(words["keepalives_idle"] == "60")
        #expect(words["gssencmode"] == "prefer")
    }

    @Test("readers, read-only by our own wish, ask for a primary where others ask for read-write")
    func targets() throws {
        #expect(try words("postgres://a,b/d", .reader)["target_session_attrs"] == "primary")
        #expect(try words("postgres://a,b/d", .pool)["target_session_attrs"] == "read-write")
        #expect(try words("postgres://a/d", .reader)["target_session_attrs"] == "any")
    }
}
