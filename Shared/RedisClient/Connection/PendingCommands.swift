internal import DequeModule
internal import EventLoop

/// The commands that were sent and not answered, in the order of their answers.
///
/// A server answers in order and answers carry no number, so an entry whose deadline passed stays in
/// its place without anybody waiting for it: were it removed, every later answer would go to the
/// wrong command. Pure: time comes in as `now`.
struct PendingCommands<Waiter> {
    struct Entry {
        /// Nil once the deadline passed.
        var waiter: Waiter?
        let sent: MonotonicTime
        let deadline: MonotonicTime
        let bytes: Int
    }

    /// How long a connection may be silent while an answer is overdue before it is given up.
    static var silenceLimit: Duration { .seconds(1) }

    private var entries = Deque<Entry>()
    private(set) var bytes = 0
    private var lastAnswer = MonotonicTime(nanoseconds: 0)
    /// No live entry's deadline is earlier.
    private var earliest = MonotonicTime.distantFuture

    let countLimit: Int
    let bytesLimit: Int

    init(countLimit: Int, bytesLimit: Int) {
        self.countLimit = countLimit
        self.bytesLimit = bytesLimit
    }

    var count: Int { entries.count }
    var isEmpty: Bool { entries.isEmpty }

    /// Whether `count` more commands of `bytes` together fit in.
    func hasRoom(count: Int, bytes: Int) -> Bool {
        entries.count + count <= countLimit && self.bytes + bytes <= bytesLimit
    }

    mutating func append(_ waiter: Waiter, bytes: Int, now: MonotonicTime, deadline: MonotonicTime)
    {
        entries.append(Entry(waiter: waiter, sent: now, deadline: deadline, bytes: bytes))
        self.bytes += bytes
        if deadline < earliest { earliest = deadline }
    }

    /// Takes the oldest entry's waiter, as its answer is here (or will never be).
    ///
    /// Nil when nobody waits for it any more, or when nothing was asked.
    mutating func takeFirst(now: MonotonicTime) -> Waiter? {
        lastAnswer = now
        guard let entry = entries.popFirst() else { return nil }
        bytes -= entry.bytes
        return entry.waiter
    }

    /// Takes the waiters whose deadline has passed; their entries stay.
    mutating func takeOverdue(now: MonotonicTime) -> [Waiter] {
        guard earliest <= now else { return [] }
        var overdue: [Waiter] = []
        earliest = .distantFuture
        for index in entries.indices where entries[index].waiter != nil {
            let deadline = entries[index].deadline
            if deadline > now {
                earliest = min(earliest, deadline)
            } else if let waiter = entries[index].waiter {
                overdue.append(waiter)
                entries[index].waiter = nil
            }
        }
        return overdue
    }

    /// Whether an answer is overdue and nothing at all has come for ``silenceLimit``.
    func isSilent(now: MonotonicTime) -> Bool {
        silentAt.map { $0 <= now } ?? false
    }

    /// When to look again: the next deadline, or the end of the patience with a silent server.
    var nextLook: MonotonicTime {
        min(entries.isEmpty ? .distantFuture : earliest, silentAt ?? .distantFuture)
    }

    private var silentAt: MonotonicTime? {
        guard let first = entries.first, first.waiter == nil else { return nil }
        return max(first.sent, lastAnswer) + PendingCommands.silenceLimit
    }
}
