/// The commands of a fresh connection, and what their answers mean.
///
/// They all go out in one write: a connection costs two round trips, TCP's included.
struct Greeting {
    /// The oldest version whose commands the project uses.
    static let leastVersion = (major: 7, minor: 0)

    private enum Step { case authentication, name, database, server, memory, role }

    private let steps: [(step: Step, command: [RedisArgument])]
    private let database: Int

    init(_ configuration: RedisConfiguration) {
        database = configuration.database
        var steps: [(step: Step, command: [RedisArgument])] = []
        if let command = Greeting.authentication(configuration) {
            steps.append((.authentication, command))
        }
        if let name = configuration.clientName {
            steps.append((.name, ["CLIENT", "SETNAME", .string(name)]))
        }
        if database != 0 { steps.append((.database, ["SELECT", .int(Int64(database))])) }
        steps.append((.server, ["INFO", "server"]))
        // The policy stands in INFO too, which hosted servers leave open where they close CONFIG.
        steps.append((.memory, ["INFO", "memory"]))
        // A directory may not know yet that a server is no primary any more.
        if configuration.directory != nil { steps.append((.role, ["ROLE"])) }
        self.steps = steps
    }

    /// How a client says who it is; nil when it need not.
    static func authentication(_ configuration: RedisConfiguration) -> [RedisArgument]? {
        configuration.password.map { password in
            ["AUTH"] + (configuration.username.map { [.string($0)] } ?? []) + [.string(password)]
        }
    }

    var commands: [[RedisArgument]] { steps.map(\.command) }

    /// What the answers say about the server.
    ///
    /// - Throws: the first refusal that makes the connection useless.
    func facts(from answers: [RedisValue]) throws(RedisError) -> RedisServerFacts {
        var server: [String: String] = [:]
        var memory: [String: String] = [:]
        for ((step, command), answer) in zip(steps, answers) {
            let name = command.first?.text ?? ""
            switch (step, answer.errorMessage) {
            case (.authentication, let message?):
                throw RedisError(.authentication, command: name, message: message)
            case (.database, let message?):
                throw RedisError(
                    reply: message,
                    command: "SELECT \(database)"
                )
            case (.server, let message?):
                throw RedisError(reply: message, command: name)
            case (.server, nil): server = Greeting.fields(of: answer)
            case (.memory, nil): memory = Greeting.fields(of: answer)
            case (.role, nil) where answer.array?.first?.text != "master":
                throw RedisError(.unavailable, command: name, message: "the server is no primary")
            case (.role, let message?): throw RedisError(reply: message, command: name)
            case (.role, nil), (.name, _), (.memory, _), (.authentication, nil), (.database, nil):
                break
            }
        }
        return RedisServerFacts(
            version: try Greeting.checked(version: server["redis_version"]),
            maxMemoryPolicy: memory["maxmemory_policy"],
            maxMemory: memory["maxmemory"].flatMap { Int64($0) }
        )
    }

    private static func checked(version: String?) throws(RedisError) -> String {
        guard let version else {
            throw RedisError(.unsupportedServer, command: "INFO", message: "no redis_version given")
        }
        let numbers = version.split(separator: ".").prefix(2).map { Int($0) ?? 0 }
        guard numbers.count == 2, (numbers[0], numbers[1]) >= leastVersion else {
            throw RedisError(
                .unsupportedServer,
                command: "INFO",
                message: "the server is Redis \(version); "
                    + "\(leastVersion.major).\(leastVersion.minor) or later is needed"
            )
        }
        return version
    }

    /// The `name:value` lines of an INFO section.
    private static func fields(of answer: RedisValue) -> [String: String] {
        var fields: [String: String] = [:]
        for line in (answer.text ?? "").split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[String(line[..<colon])] = String(line[line.index(after: colon)...])
        }
        return fields
    }
}
