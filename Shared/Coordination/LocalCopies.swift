internal import EventLoop

/// What a process remembers of a shared cache: the generation that each group had, and values that it
/// read a moment ago.
///
/// Both are guesses. Whoever uses one asks the server for the group's generation first: a copy saves
/// carrying the value, never the question whether it still holds. A copy does not know what was left
/// of its value's lifetime, so that a value may outlive that by ``lifetime``.
@LoopActor
final class LocalCopies {
    /// How long a copy is good for.
    nonisolated static let lifetime: Duration = .seconds(1)
    /// Values that together take more than this are all thrown out.
    nonisolated static let bytesMax = 8 * 1024 * 1024
    /// How many groups are remembered; above it they are learnt anew.
    nonisolated static let groupsMax = 10_000

    fileprivate struct Copy {
        let value: [UInt8]
        let until: MonotonicTime
    }

    /// What is remembered of a group.
    @LoopActor
    final class Group {
        let generation: Int64
        /// What the server is being asked of the generation.
        var question: GenerationQuestion?
        fileprivate var copies: [String: Copy] = [:]

        fileprivate init(generation: Int64) { self.generation = generation }

        /// The value that `key` had a moment before `now`.
        func value(of key: String, _ now: MonotonicTime) -> [UInt8]? {
            guard let copy = copies[key], copy.until > now else { return nil }
            return copy.value
        }
    }

    private var groups: [String: Group] = [:]
    private var bytes = 0

    nonisolated init() {}

    /// What is remembered of a group.
    func group(_ name: String) -> Group? { groups[name] }

    /// Remembers what the server said `now`.
    func learn(_ name: String, _ key: String, _ lookup: CacheLookup, _ now: MonotonicTime) {
        var group = groups[name]
        if let known = group, known.generation != lookup.generation {
            bytes -= known.copies.values.reduce(0) { $0 + $1.value.count }
            groups[name] = nil
            group = nil
        }
        bytes -= group?.copies.removeValue(forKey: key)?.value.count ?? 0
        let size = lookup.value?.count ?? 0
        let isFull = group == nil && groups.count >= LocalCopies.groupsMax
        if isFull || bytes + size > LocalCopies.bytesMax {
            groups = [:]
            bytes = 0
            group = nil
        }
        let kept = group ?? Group(generation: lookup.generation)
        groups[name] = kept
        guard let value = lookup.value else { return }
        kept.copies[key] = Copy(value: value, until: now + LocalCopies.lifetime)
        bytes += size
    }
}
