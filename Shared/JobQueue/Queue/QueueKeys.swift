/// The names of a queue's keys in Redis.
///
/// All start with the base `<prefix>:<queue>:`. On a cluster the prefix (or the name) carries a
/// `{tag}`, so that they share a slot.
public struct QueueKeys: Sendable, Hashable {
    /// The prefix that clients use unless they are told another.
    public static let defaultPrefix = "bull"

    /// The first part of every key.
    public let prefix: String
    /// The queue's name.
    public let queue: String
    /// What every key starts with, the last colon included.
    public let base: String

    /// The keys of `queue`.
    ///
    /// - Throws: for an empty name or one with a colon, which peers could not take apart.
    public init(
        queue: String,
        prefix: String = QueueKeys.defaultPrefix
    ) throws(JobQueueError) {
        guard !queue.isEmpty, !queue.utf8.contains(UInt8(ascii: ":")) else {
            throw JobQueueError(.invalid, "the queue's name '\(queue)' is empty or has a colon")
        }
        guard !prefix.isEmpty else { throw JobQueueError(.invalid, "the prefix is empty") }
        self.prefix = prefix
        self.queue = queue
        base = "\(prefix):\(queue):"
    }

    /// The queue's key with this ending, such as `wait`.
    public func key(_ suffix: String) -> String { base + suffix }

    /// The key of a job's hash.
    public func job(_ id: String) -> String { base + id }

    /// Prefix and name: the base without its last colon, as a child's `parent` field has it.
    public var path: String { String(base.dropLast()) }

    /// The base and the id of a job's key; cut at the last colon, as peers do.
    public static func split(jobKey: String) -> (base: String, id: String)? {
        guard let colon = jobKey.lastIndex(of: ":") else { return nil }
        let next = jobKey.index(after: colon)
        guard next < jobKey.endIndex else { return nil }
        return (String(jobKey[..<next]), String(jobKey[next...]))
    }
}
