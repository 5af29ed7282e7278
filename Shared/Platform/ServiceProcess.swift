internal import EventLoop
internal import Logging
internal import Telemetry

/// The process around a service: settings, log, loop, and an exit that says what was wrong.
public enum ServiceProcess {
    /// Reads the settings, starts the log, and runs the service on the loop until it ends.
    ///
    /// - Parameter make: reads the service's own settings; returns the common ones and the service.
    /// - Throws: `SettingsError`, or whatever ended the service; the caller's process exits with it.
    public static func run(
        _ make: (Settings) throws -> (
            ServiceConfiguration, @LoopActor @Sendable () async throws -> Void
        )
    ) throws {
        let (configuration, service) = try make(Settings.ofProcess())
        defer { _ = Telemetry.flush() }
        try EventLoop.run {
            Telemetry.bootstrap(
                service: configuration.name,
                level: Logger.Level(rawValue: configuration.logLevel) ?? .info
            )
            try await service()
        }
    }
}
