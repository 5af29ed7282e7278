/// A setting that cannot be used, by the name of its variable.
public struct RedisConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The variable's name, such as `REDIS_URL`.
    public let variable: String
    /// What is wrong with it; never holds the password.
    public let message: String

    /// An error of `variable`.
    public init(variable: String, message: String) {
        self.variable = variable
        self.message = message
    }

    /// Name and reason.
    public var description: String { "\(variable): \(message)" }
}
