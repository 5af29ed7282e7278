public import EventLoop

/// Locks with an owner: only who holds the token may release or renew.
///
/// A lock saves work; it proves nothing. What must happen once rests on a unique key or a
/// conditional update in PostgreSQL, because a holder can outlive its time-to-live.
@LoopActor
public protocol LockStore: AnyObject {
    /// Takes `key` for `ttl` unless somebody holds it.
    ///
    /// - Parameter value: what the holder leaves there; must begin with its unique token.
    /// - Returns: `true` for the one caller that got it.
    /// - Throws: ``CoordinationError`` when the store is away; what then is the caller's policy.
    func acquire(
        _ key: String,
        value: String,
        ttl: Duration
    ) async throws(CoordinationError) -> Bool

    /// Frees `key` if it still holds `value`.
    ///
    /// - Returns: `false` when it expired or belongs to somebody else.
    @discardableResult
    func release(_ key: String, value: String) async throws(CoordinationError) -> Bool

    /// Puts the end of `key` off to `ttl` from now if it still holds `value`.
    ///
    /// - Returns: `false` when it expired or belongs to somebody else: the work must stop.
    func renew(
        _ key: String,
        value: String,
        ttl: Duration
    ) async throws(CoordinationError) -> Bool

    /// Lets `key` hold `newValue` instead of `value` for the time that it still has.
    ///
    /// - Returns: `false` when it expired or belongs to somebody else.
    func replace(
        _ key: String,
        value: String,
        with newValue: String
    ) async throws(CoordinationError) -> Bool

    /// What `key` holds and for how long, or `nil` when it is free.
    func holder(of key: String) async throws(CoordinationError) -> LockHolder?

    /// Keys that are held and begin with `prefix`, at most about `limit` of them.
    ///
    /// Looks at everything that there is: for administrators, never for a request of anybody else.
    func keys(
        beginningWith prefix: String,
        limit: Int
    ) async throws(CoordinationError) -> [String]
}

/// Who holds a lock.
public struct LockHolder: Sendable, Hashable {
    /// The value that the holder left.
    public let value: String
    /// How long the lock still holds unless renewed.
    public let remaining: Duration
}

/// A coordination store that could not answer.
public struct CoordinationError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The operation, as metrics name it: `lock`, `rate_limit`, `pace`, `round_robin`.
    public let operation: String
    /// The store's own words.
    public let message: String

    /// An error of `operation`.
    public init(operation: String, message: String) {
        self.operation = operation
        self.message = message
    }

    /// The operation and what its store said.
    public var description: String { "\(operation): \(message)" }
}
