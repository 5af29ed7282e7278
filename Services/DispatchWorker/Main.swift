internal import ArgumentParser
internal import EventLoop
internal import Logging
internal import Platform
internal import Telemetry

/// The program: accepts message requests and sends each of them once.
@main
struct DispatchWorker: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dispatch-worker",
        abstract: "Outbound messages of Switchboard: accepted once, sent once.",
        version: Schema.release,
        subcommands: [Serve.self, QueueCommand.self, RebuildProjection.self],
        defaultSubcommand: Serve.self
    )
}

/// `dispatch-worker serve`.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves the API and sends until SIGTERM; settings come from the environment."
    )

    @Flag(help: "Accept and store without Redis; nothing is sent, and /readyz says 503.")
    var noRedis = false

    func run() throws {
        let noRedis = noRedis
        try EventLoop.run {
            let configuration = try DispatchConfiguration(noRedis: noRedis)
            Telemetry.bootstrap(
                service: configuration.service.name,
                level: .init(rawValue: configuration.service.logLevel) ?? .info
            )
            let application = Application(configuration)
            try await application.run()
            // Its routes hold it weakly; it must live for as long as they serve.
            withExtendedLifetime(application) {}
        }
    }
}
