/// What a NOTIFY said.
public struct PostgresNotification: Sendable, Hashable {
    /// The channel it was sent on.
    public let channel: String
    /// Its payload, empty when there was none.
    public let payload: String
    /// The server process that sent it.
    public let processID: Int32
}
