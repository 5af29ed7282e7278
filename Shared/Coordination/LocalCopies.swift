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

    private struct Copy {
        let value: [UInt8]
        let until: MonotonicTime
    }

    private struct Group {
        let generation: Int64
        var copies: [String: Copy] = [:]
    }

    private var groups: [String: Group] = [:]
    private var bytes = 0
    private let now: @LoopActor () -> MonotonicTime

    nonisolated init(now: @escaping @LoopActor () -> MonotonicTime) {
        self.now = now
    }

    /// The generation that a group had, and the value that `key` had in it.
    func find(_ group: String, _ key: String) -> CacheLookup? {
        guard let known = groups[group] else { return nil }
        guard let copy = known.copies[key], copy.until > now() else {
            return CacheLookup(generation: known.generation, value: nil)
        }
        return CacheLookup(generation: known.generation, value: copy.value)
    }

    /// Remembers what the server said just now.
    func learn(_ group: String, _ key: String, _ lookup: CacheLookup) {
        if let known = groups[group], known.generation != lookup.generation {
            bytes -= known.copies.values.reduce(0) { $0 + $1.value.count }
            groups[group] = nil
        }
        bytes -= groups[group]?.copies.removeValue(forKey: key)?.value.count ?? 0
        let size = lookup.value?.count ?? 0
        let isFull = groups[group] == nil && groups.count >= LocalCopies.groupsMax
        if isFull || bytes + size > LocalCopies.bytesMax { forget() }
        bytes += size
        groups[group, default: Group(generation: lookup.generation)].copies[key] =
            lookup.value.map { Copy(value: $0, until: now() + LocalCopies.lifetime) }
    }

    private func forget() {
        groups = [:]
        bytes = 0
    }
}
