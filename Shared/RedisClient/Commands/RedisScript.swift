internal import EventLoop

/// A Lua script that runs in the server; a `static let` where it is used.
///
/// Its digest comes from the server (SCRIPT LOAD) at the first run and is kept: it is the same on
/// every server.
public final class RedisScript: Sendable {
    /// The Lua text.
    public let source: String
    /// What logs call it.
    public let name: String
    @LoopActor var digest: String?

    /// A script of `source`.
    public init(_ source: String, name: String = "script") {
        self.source = source
        self.name = name
    }
}
