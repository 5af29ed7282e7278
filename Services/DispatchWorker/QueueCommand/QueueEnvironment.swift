internal import Platform

/// The process's environment, as settings are read everywhere.
enum QueueEnvironment {
    static func variables() -> [String: String] { Settings.ofProcess().environment }
}
