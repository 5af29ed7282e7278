public import EventLoop

/// A cache whose values belong to a generation of their group.
///
/// Whoever changes what the values of a group were read from begins the next generation after the
/// commit. A reader that began before can only fill the old one, which nobody asks for any more: it
/// never puts back what was thrown out. Nothing that decides is read from here.
@LoopActor
public protocol GenerationCache: AnyObject {
    /// The value of `key` in the group's generation of now.
    ///
    /// - Throws: ``CoordinationError`` when the store is away.
    func get(_ group: String, _ key: String) async throws(CoordinationError) -> CacheLookup

    /// The group's generation at an instant after the call: whether what was read a moment ago still
    /// holds.
    ///
    /// - Throws: ``CoordinationError`` when the store is away.
    func generation(of group: String) async throws(CoordinationError) -> Int64

    /// Keeps a value that was read in `generation`.
    func set(
        _ group: String,
        _ key: String,
        _ value: [UInt8],
        generation: Int64,
        ttl: Duration
    ) async throws(CoordinationError)

    /// Begins the next generation of each group, of all at once; tags in their names are the same.
    func invalidate(_ groups: [String]) async throws(CoordinationError)
}

/// What a cache knows.
public struct CacheLookup: Sendable, Hashable {
    /// The group's generation; a value that is read now is kept under it.
    public let generation: Int64
    /// The value; nil when there is none.
    public let value: [UInt8]?
}

/// The lifetime of a generation's number: longer than any value of it.
enum CacheGeneration {
    static let ttl: Duration = .seconds(86_400)
}
