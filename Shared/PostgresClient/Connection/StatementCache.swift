/// The statements that one connection has prepared, by their text.
///
/// A hot statement is parsed once per connection. When the cache is full the one that was not used
/// for longest makes room.
struct StatementCache: Sendable {
    /// One prepared statement.
    struct Entry: Sendable {
        let name: String
        var lastUse: UInt64
        /// The columns of its results, once known: they cannot change under a prepared statement.
        var columns: PostgresColumns?
    }

    enum Use: Sendable, Hashable {
        /// It is there under this name.
        case prepared(String)
        /// Prepare it under this name first; drop another one before, if given.
        case prepare(String, dropping: String?)
    }

    let limit: Int
    private var entries: [String: Entry] = [:]
    private var uses: UInt64 = 0
    private var names: UInt64 = 0
    /// Left the cache, but the server still keeps them.
    private var leftovers: [String] = []

    init(limit: Int) {
        precondition(limit > 0, "a cache holds something")
        self.limit = limit
    }

    var count: Int { entries.count }

    mutating func use(_ sql: String) -> Use {
        uses += 1
        // One look-up for the hot path: the entry is changed in place.
        if let name = touch(&entries[sql]) { return .prepared(name) }
        if entries.count >= limit,
            let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse })
        {
            entries[oldest.key] = nil
            leftovers.append(oldest.value.name)
        }
        names += 1
        let name = "s\(names)"
        entries[sql] = Entry(name: name, lastUse: uses)
        return .prepare(name, dropping: leftovers.popLast())
    }

    private func touch(_ entry: inout Entry?) -> String? {
        entry?.lastUse = uses
        return entry?.name
    }

    func columns(of sql: String) -> PostgresColumns? { entries[sql]?.columns }

    mutating func remember(_ columns: PostgresColumns, of sql: String) {
        entries[sql]?.columns = columns
    }

    /// Forgets a statement whose preparation failed: the server does not know it.
    mutating func preparationFailed(_ sql: String, name: String) {
        if entries[sql]?.name == name { entries[sql] = nil }
    }

    /// Forgets a statement that no longer fits the tables; the server drops it later.
    mutating func becameStale(_ sql: String, name: String, isKnownToServer: Bool) {
        guard entries[sql]?.name == name else { return }
        entries[sql] = nil
        if isKnownToServer { leftovers.append(name) }
    }
}
