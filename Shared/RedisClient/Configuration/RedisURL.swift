/// A URL of a Redis server, taken apart.
///
/// Forms: `redis://[user][:password]@host[:port][/database]` (the registered scheme) and
/// `unix://[user:password@]/path/to/socket[?db=n]`; where the server may move,
/// `redis+sentinel://[user][:password]@host[:port][,host…]/primary[/database]` and
/// `redis+cluster://[user][:password]@host[:port][,host…]`. The same with `rediss` in place of
/// `redis` asks for TLS, sentinels included.
struct RedisURL: Hashable {
    static let defaultPort = 6379
    static let defaultSentinelPort = 26_379
    /// The length of `sun_path` (unix(7)) less the closing zero.
    static let socketPathLimit = 107

    var endpoint: RedisConfiguration.Endpoint
    var directory: RedisDirectory?
    var username: String?
    var password: String?
    var database = 0
    /// Whether connections are encrypted.
    var isSecure = false

    private let variable: String

    /// Takes `text` apart.
    ///
    /// - Parameter variable: what to name in errors.
    init(_ text: String, variable: String) throws(RedisConfigurationError) {
        self.variable = variable
        endpoint = .tcp(host: "localhost", port: RedisURL.defaultPort)
        guard let mark = text.firstRange(of: "://") else {
            throw refusal("is not a URL; write redis://host:port/database")
        }
        let rest = text[mark.upperBound...]
        let scheme = text[..<mark.lowerBound].lowercased()
        isSecure = scheme.hasPrefix("rediss")
        switch scheme {
        case "redis", "rediss": try readNetwork(rest)
        case "unix": try readSocket(rest)
        case "redis+sentinel", "rediss+sentinel": try readSentinels(rest)
        case "redis+cluster", "rediss+cluster": try readCluster(rest)
        default:
            throw refusal(
                "has the scheme '\(scheme)'; redis://, rediss:// (TLS), unix://, "
                    + "redis+sentinel:// and redis+cluster:// (rediss+…:// with TLS) are known"
            )
        }
    }

    private mutating func readNetwork(_ text: Substring) throws(RedisConfigurationError) {
        let (authority, path) = try split(text)
        endpoint = try readHost(authority, defaultPort: RedisURL.defaultPort)
        if !path.isEmpty { database = try readDatabase(path) }
    }

    private mutating func readSentinels(_ text: Substring) throws(RedisConfigurationError) {
        let (authority, path) = try split(text)
        let members = try readHosts(authority, defaultPort: RedisURL.defaultSentinelPort)
        let parts = path.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = parts.first, !name.isEmpty else {
            throw refusal("has no primary's name; write redis+sentinel://host,host/name")
        }
        directory = .sentinels(members, service: try decoded(name, "name"))
        endpoint = members[0]
        if parts.count == 2, !parts[1].isEmpty { database = try readDatabase(parts[1]) }
    }

    private mutating func readCluster(_ text: Substring) throws(RedisConfigurationError) {
        let (authority, path) = try split(text)
        let members = try readHosts(authority, defaultPort: RedisURL.defaultPort)
        guard path.isEmpty || path == "0" else {
            throw refusal("has a database; a cluster has none but 0")
        }
        directory = .cluster(members)
        endpoint = members[0]
    }

    /// Takes the credentials off, and the rest apart at the first slash.
    private mutating func split(
        _ text: Substring
    ) throws(RedisConfigurationError) -> (authority: Substring, path: Substring) {
        if text.contains("?") || text.contains("#") {
            throw refusal("has a query or fragment; a URL of this kind takes none")
        }
        let end = text.firstIndex(of: "/") ?? text.endIndex
        return (try takeCredentials(text[..<end]), text[end...].dropFirst())
    }

    private func readHosts(
        _ text: Substring,
        defaultPort: Int
    ) throws(RedisConfigurationError) -> [RedisConfiguration.Endpoint] {
        var hosts: [RedisConfiguration.Endpoint] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            hosts.append(try readHost(part, defaultPort: defaultPort))
        }
        return hosts
    }

    private mutating func readSocket(_ text: Substring) throws(RedisConfigurationError) {
        guard let pathStart = text.firstIndex(of: "/") else {
            throw refusal("has no path; write unix:///path/to/redis.sock")
        }
        let host = try takeCredentials(text[..<pathStart])
        guard host.isEmpty else { throw refusal("has a host; write unix:///path/to/redis.sock") }
        let parts = text[pathStart...].split(separator: "?", maxSplits: 1)
        let path = try decoded(parts[0], "path")
        guard path.utf8.count <= RedisURL.socketPathLimit else {
            throw refusal("has a socket path of over \(RedisURL.socketPathLimit) bytes")
        }
        endpoint = .unix(path: path)
        guard parts.count == 2 else { return }
        guard parts[1].hasPrefix("db=") else { throw refusal("has a query other than db=number") }
        database = try readDatabase(parts[1].dropFirst(3))
    }

    /// Takes `user:password@` off the front; the last `@` counts, as unescaped passwords may hold it.
    private mutating func takeCredentials(
        _ authority: Substring
    ) throws(RedisConfigurationError) -> Substring {
        guard let at = authority.lastIndex(of: "@") else { return authority }
        let parts = authority[..<at].split(
            separator: ":",
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        let user = try decoded(parts[0], "user")
        username = user.isEmpty ? nil : user
        if parts.count == 2 {
            let word = try decoded(parts[1], "password")
            password = word.isEmpty ? nil : word
        }
        return authority[authority.index(after: at)...]
    }

    private func readHost(
        _ text: Substring,
        defaultPort: Int
    ) throws(RedisConfigurationError) -> RedisConfiguration.Endpoint {
        var host = text
        var port = Substring()
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else {
                throw refusal("has an IPv6 address without its closing bracket")
            }
            host = text[text.index(after: text.startIndex)..<close]
            let rest = text[text.index(after: close)...]
            guard rest.isEmpty || rest.hasPrefix(":") else {
                throw refusal("has something other than a port after the IPv6 address")
            }
            port = rest.dropFirst()
        } else if let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
            guard !port.contains(":") else {
                throw refusal("has an IPv6 address; write it in brackets")
            }
        }
        let name = try decoded(host, "host")
        return .tcp(
            host: name.isEmpty ? "localhost" : name,
            port: port.isEmpty ? defaultPort : try RedisURL.port(port, variable: variable)
        )
    }

    private func readDatabase(_ text: Substring) throws(RedisConfigurationError) -> Int {
        guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
            let number = Int(text)
        else {
            throw refusal("has the database '\(text)', which is not a number")
        }
        return number
    }

    static func port(
        _ text: Substring,
        variable: String
    ) throws(RedisConfigurationError) -> Int {
        guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
            let port = Int(text), (1...65_535).contains(port)
        else {
            throw RedisConfigurationError(
                variable: variable,
                message: "has the port '\(text)', which is not a number from 1 to 65535"
            )
        }
        return port
    }

    private func decoded(
        _ text: Substring,
        _ part: String
    ) throws(RedisConfigurationError) -> String {
        guard let plain = RedisURL.percentDecoded(text) else {
            throw refusal("has a \(part) with a broken percent escape")
        }
        return plain
    }

    /// The text with `%XX` undone (RFC 3986, 2.1); nil for a broken escape or what is no UTF-8 then.
    private static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2,
                digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
                let value = UInt8(String(Substring(digits)), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private func refusal(_ message: String) -> RedisConfigurationError {
        RedisConfigurationError(variable: variable, message: message)
    }
}
