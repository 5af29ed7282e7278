/// A value that must not be printed: a token, a key, a password.
///
/// Every way of turning it into text gives `***`; only ``reveal()`` gives the value, so each place
/// that needs it is found by its name.
public struct Secret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    private let value: String

    /// Wraps `value`.
    public init(_ value: String) {
        self.value = value
    }

    /// The value itself, for the one call that needs it.
    public func reveal() -> String { value }

    /// Always `***`.
    public var description: String { "***" }

    /// Always `***`.
    public var debugDescription: String { "***" }

    /// Shows nothing to `dump` and to debuggers.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
