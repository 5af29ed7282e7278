/// Where the database is and who asks: a parsed `DATABASE_URL`.
///
/// `postgres://user:password@host:port,host:port/database?parameter=value`, with the scheme
/// `postgres` or `postgresql`, and a driver after it (`postgresql+asyncpg`) that is dropped. A host
/// may be a folder with a unix socket, percent-encoded or given as `?host=/folder`
/// (the manual, 34.1.1.2).
public struct PostgresURL: Sendable, Hashable {
    /// One server that may hold the database.
    public struct Host: Sendable, Hashable {
        /// A name, an address, or the folder of a unix socket (libpq's own when empty).
        public var name: String
        /// The TCP port, or the number in the socket's file name.
        public var port: Int

        /// Whether `name` is a folder with a unix socket.
        public var isSocketFolder: Bool {
            name.isEmpty || name.hasPrefix("/") || name.hasPrefix("@")
        }
    }

    /// Which servers are good enough.
    public enum Target: String, Sendable, Hashable {
        /// Any that answers.
        case any
        /// One that accepts writes.
        case readWrite = "read-write"
        /// One that does not.
        case readOnly = "read-only"
        /// One that is not in recovery.
        case primary
        /// One that is in recovery.
        case standby
    }

    /// The servers, to be tried in this order.
    public var hosts: [Host]
    /// The role to log in as; the operating system's user when nil.
    public var user: String?
    /// The password, kept from descriptions and dumps.
    public var password: RedactedText?
    /// The database; named as the user when nil.
    public var database: String?
    /// Which of the hosts will do: `any` for one host, `read-write` for several, unless stated.
    public var target: Target
    /// `connect_timeout` in seconds, when stated.
    public var connectTimeoutSeconds: Int?
    /// Further parameters for libpq (`sslmode`, `sslrootcert`, …).
    public var parameters: [String: String]

    static let defaultPort = 5432
    static let hostsMax = 16

    /// What is handed to libpq as it is; everything else in a URL is an error rather than ignored.
    static let passedParameters: Set<String> = [
        "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir",
        "sslsni", "ssl_min_protocol_version", "ssl_max_protocol_version", "channel_binding",
        "gssencmode", "krbsrvname", "passfile", "options", "keepalives", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "tcp_user_timeout", "requirepeer",
    ]

    /// Parses `text`.
    ///
    /// - Throws: ``PostgresError`` with code `configuration`; its message never holds the password.
    public init(_ text: String) throws(PostgresError) {
        var rest = Substring(text)
        guard let schemeEnd = text.firstRange(of: "://") else {
            throw PostgresURL.fault("has no scheme; write postgres://user@host/database")
        }
        let scheme = text[..<schemeEnd.lowerBound]
        let kind = scheme.prefix { $0 != "+" }
        guard kind == "postgres" || kind == "postgresql" else {
            throw PostgresURL.fault("has the scheme \(kind), which is not postgres or postgresql")
        }
        rest = text[schemeEnd.upperBound...]
        if let fragment = rest.firstIndex(of: "#") { rest = rest[..<fragment] }
        var query: Substring = ""
        if let mark = rest.firstIndex(of: "?") {
            query = rest[rest.index(after: mark)...]
            rest = rest[..<mark]
        }
        var path: Substring = ""
        if let slash = rest.firstIndex(of: "/") {
            path = rest[rest.index(after: slash)...]
            rest = rest[..<slash]
        }
        var parts = try PostgresURLParts(authority: rest)
        if !path.isEmpty { parts.database = try PercentEncoding.decode(path, "the database") }
        try parts.apply(query: query)
        self = try parts.finished()
    }

    static func fault(_ message: String) -> PostgresError {
        PostgresError(.configuration, "DATABASE_URL", message)
    }
}

extension PostgresURL: CustomStringConvertible {
    /// The address without the password.
    public var description: String {
        let names = hosts.map { "\($0.name):\($0.port)" }.joined(separator: ",")
        return "postgresql://\(user.map { $0 + "@" } ?? "")\(names)/\(database ?? "")"
    }
}

/// Text that no description, dump or log shows.
public struct RedactedText: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
    /// The text itself.
    public let value: String

    /// Keeps `value`.
    public init(_ value: String) { self.value = value }

    /// Three stars.
    public var description: String { "***" }
    /// A mirror without children.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Percent-encoding (RFC 3986, 2.1).
enum PercentEncoding {
    static func decode(_ text: Substring, _ what: String) throws(PostgresError) -> String {
        guard text.contains("%") else { return String(text) }
        var bytes: [UInt8] = []
        var rest = Substring(text).utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(Hex.value), let low = rest.popFirst(),
                let low = Hex.value(low)
            else { throw PostgresURL.fault("has a bad percent-encoding in \(what)") }
            bytes.append(high << 4 | low)
        }
        guard !bytes.contains(0), let decoded = String(validating: bytes, as: UTF8.self) else {
            throw PostgresURL.fault("has a bad percent-encoding in \(what)")
        }
        return decoded
    }
}

/// Hexadecimal digits.
enum Hex {
    static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
