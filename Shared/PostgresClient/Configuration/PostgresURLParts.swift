/// A URL on its way from text to ``PostgresURL``: the query may still replace what came before it.
struct PostgresURLParts {
    var names: [String] = []
    var ports: [Int?] = []
    var user: String?
    var password: RedactedText?
    var database: String?
    var target: PostgresURL.Target?
    var connectTimeoutSeconds: Int?
    var parameters: [String: String] = [:]

    init(authority: Substring) throws(PostgresError) {
        var hosts = authority
        // A password may hold an unencoded "@" in sloppy URLs: the last one ends it.
        if let at = authority.lastIndex(of: "@") {
            try setUser(authority[..<at])
            hosts = authority[authority.index(after: at)...]
        }
        guard !hosts.isEmpty else { return }
        for host in hosts.split(separator: ",", omittingEmptySubsequences: false) {
            try add(host: host)
        }
    }

    private mutating func setUser(_ text: Substring) throws(PostgresError) {
        let name = text.prefix { $0 != ":" }
        if !name.isEmpty { user = try PercentEncoding.decode(name, "the user") }
        if let colon = text.firstIndex(of: ":") {
            let secret = text[text.index(after: colon)...]
            password = RedactedText(try PercentEncoding.decode(secret, "the password"))
        }
    }

    private mutating func add(host text: Substring) throws(PostgresError) {
        var name = text
        var port: Substring?
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else {
                throw PostgresURL.fault("has an address without its closing bracket")
            }
            name = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else {
                throw PostgresURL.fault("has something between an address and its port")
            }
            if !rest.isEmpty { port = rest.dropFirst() }
        } else if let colon = text.lastIndex(of: ":") {
            name = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        names.append(try PercentEncoding.decode(name, "a host"))
        if let port, !port.isEmpty {
            ports.append(try PostgresURLParts.port(port))
        } else {
            ports.append(nil)
        }
    }

    private static func port(_ text: some StringProtocol) throws(PostgresError) -> Int {
        guard let port = Int(text), (1...65535).contains(port) else {
            throw PostgresURL.fault("has a port that is not 1…65535")
        }
        return port
    }

    mutating func apply(query: Substring) throws(PostgresError) {
        for pair in query.split(separator: "&") {
            guard let equals = pair.firstIndex(of: "=") else {
                throw PostgresURL.fault("has a parameter without a value")
            }
            let name = try PercentEncoding.decode(pair[..<equals], "a parameter's name")
            let text = pair[pair.index(after: equals)...]
            try apply(name, try PercentEncoding.decode(text, "the parameter \(name)"))
        }
    }

    private mutating func apply(_ name: String, _ value: String) throws(PostgresError) {
        switch name {
        case "user": user = value
        case "password": password = RedactedText(value)
        case "dbname": database = value
        case "host":
            names = value.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        case "port":
            ports = []
            for port in value.split(separator: ",", omittingEmptySubsequences: false) {
                ports.append(port.isEmpty ? nil : try PostgresURLParts.port(port))
            }
        case "target_session_attrs":
            guard let target = PostgresURL.Target(rawValue: value) else {
                throw PostgresURL.fault("asks for target_session_attrs=\(value)")
            }
            self.target = target
        case "connect_timeout":
            guard let seconds = Int(value), seconds >= 0 else {
                throw PostgresURL.fault("has a connect_timeout that is no number of seconds")
            }
            // Zero means "wait for ever" to libpq; here the default stands.
            connectTimeoutSeconds = seconds == 0 ? nil : seconds
        case "application_name":
            // Ours names the service; a URL shared by services cannot.
            break
        case "ssl":
            // asyncpg's word for sslmode.
            parameters["sslmode"] = value == "true" ? "require" : value
        default:
            guard PostgresURL.passedParameters.contains(name) else {
                throw PostgresURL.fault("has the unknown parameter \(name)")
            }
            parameters[name] = value
        }
    }

    func finished() throws(PostgresError) -> PostgresURL {
        let names = names.isEmpty ? [""] : names
        guard names.count <= PostgresURL.hostsMax else {
            throw PostgresURL.fault("names more than \(PostgresURL.hostsMax) hosts")
        }
        guard ports.count <= 1 || ports.count == names.count else {
            throw PostgresURL.fault("has \(ports.count) ports for \(names.count) hosts")
        }
        var hosts: [PostgresURL.Host] = []
        for (index, name) in names.enumerated() {
            let port = ports.count == 1 ? ports[0] : ports.isEmpty ? nil : ports[index]
            hosts.append(
                PostgresURL.Host(
                    name: name,
                    port: port ?? PostgresURL.defaultPort
                )
            )
        }
        return PostgresURL(
            hosts: hosts,
            user: user,
            password: password,
            database: database,
            target: target ?? (hosts.count > 1 ? .readWrite : .any),
            connectTimeoutSeconds: connectTimeoutSeconds,
            parameters: parameters
        )
    }
}

extension PostgresURL {
    init(
        hosts: [Host],
        user: String?,
        password: RedactedText?,
        database: String?,
        target: Target,
        connectTimeoutSeconds: Int?,
        parameters: [String: String]
    ) {
        self.hosts = hosts
        self.user = user
        self.password = password
        self.database = database
        self.target = target
        self.connectTimeoutSeconds = connectTimeoutSeconds
        self.parameters = parameters
    }
}
