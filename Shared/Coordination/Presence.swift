public import EventLoop

/// Who is there: measured by signs of life, not by what anybody claims.
///
/// A user has one sign of life for each connection (tab, device). A connection that says goodbye is
/// gone at once, one that crashed when its time has run out; the user is there while any is.
@LoopActor
public protocol Presence: AnyObject {
    /// Notes a sign of life of connections, good for `ttl` on the store's clock.
    ///
    /// - Throws: ``CoordinationError`` when the store is away.
    func beat(
        tenant: String,
        _ connections: [PresenceConnection],
        ttl: Duration
    ) async throws(CoordinationError)

    /// Forgets a connection; the user's others stay.
    func leave(
        tenant: String,
        _ connection: PresenceConnection
    ) async throws(CoordinationError)

    /// For how long each of these connections still counts; zero for one that does not.
    func remaining(
        tenant: String,
        _ connections: [PresenceConnection]
    ) async throws(CoordinationError) -> [Duration]
}

/// One connection of a user.
public struct PresenceConnection: Sendable, Hashable {
    /// The user.
    public let user: String
    /// The connection's own id.
    public let id: String

    /// A connection of `user`.
    public init(user: String, id: String) {
        self.user = user
        self.id = id
    }

    /// As it stands in the store; the length keeps users and ids with a `|` apart.
    var member: String { "\(user.utf8.count)|\(user)|\(id)" }
}
