internal import PostgresClient
internal import Logging
internal import ArgumentParser
internal import EventLoop
internal import Platform
internal import Telemetry

/// The program: serves the API, migrates the database, makes keys.
@main
struct Messaging: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "messaging",
        abstract: "Conversations, threads, messages and bots of Switchboard.",
        version: Schema.release,
        subcommands: [Serve.self, Migrate.self, Keys.self, Secrets.self],
        defaultSubcommand: Serve.self
    )
}

/// `messaging serve`.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves the API until SIGTERM; settings come from the environment and .env."
    )

    func run() throws {
        try EventLoop.run {
            let configuration = try MessagingConfiguration(settings: .ofProcess())
            Telemetry.bootstrap(
                service: configuration.service.name,
                level: .init(rawValue: configuration.service.logLevel) ?? .info
            )
            try await Application(configuration).run()
        }
    }
}

/// `messaging migrate`.
struct Migrate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Brings the database to this build's schema; does nothing when it is there.",
        discussion: "The database is named by DATABASE_URL."
    )

    @Option(help: "The folder of numbered SQL files; MIGRATIONS_DIR, else compose/migrations.")
    var directory: String?

    func run() throws {
        let directory = directory
        try EventLoop.run {
            let settings = Settings.ofProcess()
            let folder =
                directory ?? settings.optional("MIGRATIONS_DIR") ?? "compose/migrations"
            let report = try await Administration.migrate(settings, directory: folder)
            for name in report.applied { print("applied \(name)") }
            print("the schema is at version \(report.version)")
        }
    }
}

/// `messaging keys …`.
struct Keys: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes and revokes the keys that callers show.",
        subcommands: [CreateKey.self, RevokeKey.self]
    )
}

/// `messaging keys create`.
struct CreateKey: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract:
            "Makes a key, and the tenant if it is new; prints the key alone on the last line.",
        discussion: "Only a hash of it is stored: it cannot be shown again."
    )

    @Option(help: "The tenant's code: small letters, digits, '_', '.', '-'.")
    var tenant: String

    @Option(help: "viewer, agent, operator or admin; each includes the ones before it.")
    var role: String

    func run() throws {
        let tenant = tenant
        let role = role
        try EventLoop.run {
            let key = try await Administration.createKey(
                .ofProcess(),
                tenant: tenant,
                role: role
            )
            print(key)
        }
    }
}

/// `messaging keys revoke`.
struct RevokeKey: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "Ends a key; every process that reaches Redis refuses it at once.",
        discussion: "Without Redis it is refused within 5 seconds."
    )

    @Argument(help: "The key's id: what stands between 'sb_' and the last '_'.")
    var keyID: String

    func run() throws {
        let keyID = keyID
        try EventLoop.run {
            try await Administration.revokeKey(.ofProcess(), keyID: keyID)
            print("revoked \(keyID)")
        }
    }
}

/// `messaging secrets …`.
struct Secrets: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Looks after what is sealed in the database.",
        subcommands: [RotateSecrets.self]
    )
}

/// `messaging secrets rotate`.
struct RotateSecrets: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Seals anew what an older key of SECRETS_KEY has sealed, in all services.",
        discussion: "Give SECRETS_KEY both keys, the new one first, restart the services with it, "
            + "and run this. Then the old key can be left out; only raw events of Slack that came "
            + "in before (they are kept for 7 days) can then no longer be fed in again."
    )

    func run() throws {
        try EventLoop.run {
            let report = try await Administration.rotateSecrets(.ofProcess())
            print("sealed anew: \(report.rotated), with the newest key already: \(report.current)")
            guard report.closed.isEmpty else {
                throw ValidationError(
                    "no key of SECRETS_KEY opens:\n" + report.closed.joined(separator: "\n")
                )
            }
        }
    }
}
