internal import EventLoop

/// What looks into histories saw lately: one page of a channel settles all its unknown messages.
///
/// Pure. That a message was seen holds for ever; that it was not seen says something only if the look
/// reached back to its attempt and came late enough after it.
struct LookMemory {
    /// How long a look is remembered.
    static let keep: Duration = .seconds(60)
    /// Above this many channels the old ones are dropped.
    static let channelsMax = 1_000
    /// How much further a look reaches back than its message needs.
    static let reachSeconds: Int64 = 60

    private struct Look {
        let at: MonotonicTime
        let since: Int64
        let marks: [String: String]
    }

    private var looks: [String: Look] = [:]

    /// Keeps what a look saw that reached back to `since` (seconds since 1970).
    mutating func note(
        _ key: String,
        _ marks: [String: String],
        since: Int64,
        now: MonotonicTime
    ) {
        if looks.count >= LookMemory.channelsMax {
            looks = looks.filter { now - $0.value.at < LookMemory.keep }
        }
        looks[key] = Look(at: now, since: since, marks: marks)
    }

    /// What is remembered of a message; nil when that says nothing.
    ///
    /// - Parameters:
    ///   - since: seconds since 1970 before which it cannot have been sent.
    ///   - unknownFor: how long its attempt has been unclear by now.
    ///   - needs: how long it must have been unclear when the look was made.
    func finding(
        of job: MessageReference,
        in key: String,
        since: Int64,
        unknownFor: Duration,
        needs: Duration,
        now: MonotonicTime
    ) -> Finding? {
        guard let look = looks[key], now - look.at < LookMemory.keep else { return nil }
        if let ts = look.marks[job.mark] { return .found(providerTS: ts) }
        guard look.since <= since, unknownFor - (now - look.at) >= needs else { return nil }
        return .absent
    }
}
