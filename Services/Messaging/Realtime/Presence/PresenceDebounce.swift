internal import EventLoop

/// Which changes of presence are worth telling: those that held for a while.
///
/// A tab that reloads is gone for a second, and nobody should hear of it.
struct PresenceDebounce: Sendable {
    /// A user who came or went.
    struct Change: Sendable, Hashable {
        let user: String
        let isPresent: Bool
    }

    /// Those of whom it was told that they are there.
    private(set) var shown: Set<String>
    /// Since when a user is otherwise than was told.
    private var since: [String: MonotonicTime] = [:]

    /// Begins with those who are there; who wants to know asks.
    init(present: Set<String>) {
        shown = present
    }

    /// Looks at who is there now; answers what has held for `grace`, in the order of names.
    mutating func observe(
        _ present: Set<String>,
        now: MonotonicTime,
        grace: Duration
    ) -> [Change] {
        let different = shown.symmetricDifference(present)
        since = since.filter { different.contains($0.key) }
        var changes: [Change] = []
        for user in different.sorted() {
            let start = since[user] ?? now
            since[user] = start
            guard now - start >= grace else { continue }
            since[user] = nil
            let isPresent = present.contains(user)
            if isPresent { shown.insert(user) } else { shown.remove(user) }
            changes.append(Change(user: user, isPresent: isPresent))
        }
        return changes
    }
}
