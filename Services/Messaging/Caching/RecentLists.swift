internal import EventLoop

/// What a process remembers of lists that it read from the shared cache a moment ago.
///
/// A guess: whoever uses one asks the server for the generation first, so that a copy saves carrying the
/// value, never the question whether it still holds. A copy does not know what was left of its value's
/// lifetime, so that a value may outlive that by ``lifetime``.
@LoopActor
final class RecentLists {
    /// How long a copy is good for.
    nonisolated static let lifetime: Duration = .seconds(1)
    /// Values that together take more than this are all thrown out.
    nonisolated static let bytesMax = 8 * 1024 * 1024
    /// More lists than these are all thrown out: an empty one takes more than its bytes.
    nonisolated static let copiesMax = 10_000

    /// What a list was, and in which generation of its group.
    final class Copy {
        let value: [UInt8]
        let group: String
        let generation: Int64
        fileprivate let until: MonotonicTime

        fileprivate init(
            _ value: [UInt8],
            _ group: String,
            _ generation: Int64,
            _ now: MonotonicTime
        ) {
            self.value = value
            self.group = group
            self.generation = generation
            until = now + RecentLists.lifetime
        }
    }

    private var copies: [QueryCache.Query: Copy] = [:]
    private var bytes = 0

    /// What the list was a moment before `now`.
    func copy(_ query: QueryCache.Query, _ now: MonotonicTime) -> Copy? {
        guard let copy = copies[query], copy.until > now else { return nil }
        return copy
    }

    /// Remembers what the list was `now`.
    func learn(
        _ query: QueryCache.Query,
        _ value: [UInt8],
        group: String,
        generation: Int64,
        _ now: MonotonicTime
    ) {
        bytes -= copies.removeValue(forKey: query)?.value.count ?? 0
        let isFull = copies.count >= RecentLists.copiesMax
        if isFull || bytes + value.count > RecentLists.bytesMax {
            copies = [:]
            bytes = 0
        }
        copies[query] = Copy(value, group, generation, now)
        bytes += value.count
    }
}
