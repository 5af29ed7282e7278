internal import ArgumentParser
internal import EventLoop
internal import Platform

@main
struct AssignmentEngineMain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "assignment-engine",
        abstract: "Hands conversations to people, fairly, and says why.",
        subcommands: [Serve.self],
        defaultSubcommand: Serve.self
    )
}

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve the HTTP API until SIGTERM."
    )

    func run() throws {
        try ServiceProcess.run { settings in
            let configuration = try Configuration(settings)
            return (configuration.common, { try await Application(configuration).run() })
        }
    }
}
