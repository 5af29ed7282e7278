/// A row of `dispatch.message_requests` as far as sending changes it.
///
/// A model of the functions in `0004_dispatch.sql`: the simulation runs against it, and a test of its
/// own lets it and PostgreSQL run the same random calls and compares them after each.
struct SendRow: Equatable {
    enum Status: String {
        case accepted, dispatched, sending, sent
        case retryWait = "retry_wait"
        case unknown, failed, cancelled, expired
    }

    /// The faults that are planted here.
    struct Faults: OptionSet {
        let rawValue: Int
        /// The record of an attempt counts whoever asks.
        static let noFence = Faults(rawValue: 1)
        /// Whoever asks may send.
        static let noState = Faults(rawValue: 2)
        /// A lease is taken for run out before it has.
        static let noLease = Faults(rawValue: 4)
        /// What is known of the bytes is written after the send.
        static let bytesOutLate = Faults(rawValue: 8)
        /// A look that was overtaken decides.
        static let noLookFence = Faults(rawValue: 16)
        /// A wish to cancel is forgotten while the message is being sent.
        static let noCancelWish = Faults(rawValue: 32)
        /// Attempts are not counted.
        static let noCount = Faults(rawValue: 64)
    }

    var faults: Faults = []
    var status = Status.accepted
    var generation = 1
    var attempts = 0
    var maxAttempts = 8
    var token: Int?
    var leaseUntil: Int?
    var cancelRequested = false
    var nextAttemptAt = 0
    var acceptedAt = 0
    /// When its job comes up, as far as the row knows.
    var jobDueAt: Int?
    var deadline: Int?
    var ts: Int?
    var unknownSince: Int?
    /// Whether the provider's answer came back; only the planted fault looks at it.
    var isPosted = false

    static let waiting: Set<Status> = [.accepted, .dispatched, .retryWait]
    static let ended: Set<Status> = [.sent, .failed, .cancelled, .expired]

    var isEnded: Bool { SendRow.ended.contains(status) }

    /// `dispatch.mark_dispatched`.
    mutating func dispatch(generation asked: Int, now: Int) -> Bool {
        guard status == .accepted, generation == asked else { return false }
        status = .dispatched
        jobDueAt = max(nextAttemptAt, now)
        return true
    }

    /// `dispatch.begin_send`.
    mutating func begin(generation asked: Int, token new: Int, lease: Int, now: Int) -> Bool {
        let isWaiting = SendRow.waiting.contains(status) || faults.contains(.noState) && !isEnded
        guard isWaiting, generation == asked, nextAttemptAt <= now, !cancelRequested,
            deadline.map({ $0 > now }) ?? true
        else { return false }
        status = .sending
        token = new
        leaseUntil = now + lease
        isPosted = false
        if !faults.contains(.noCount) { attempts += 1 }
        return true
    }

    /// `dispatch.postpone`.
    mutating func postpone(generation asked: Int, wait: Int, now: Int) {
        guard SendRow.waiting.contains(status), generation == asked else { return }
        nextAttemptAt = now + wait
        jobDueAt = now + wait
    }

    /// Whether `dispatch.unqueued` shows it.
    func isUnqueued(lead: Int, now: Int) -> Bool {
        SendRow.waiting.contains(status) && nextAttemptAt <= now
            && jobDueAt.map { $0 > nextAttemptAt } ?? true
            && (status != .accepted || acceptedAt < now - lead)
    }

    /// `dispatch.note_queued`.
    mutating func noteQueued(generation asked: Int, now: Int) {
        guard SendRow.waiting.contains(status), generation == asked, nextAttemptAt <= now
        else { return }
        jobDueAt = now
    }

    /// Whether `dispatch.overdue` shows it.
    func isOverdue(grace: Int, now: Int) -> Bool {
        (status == .dispatched || status == .retryWait) && nextAttemptAt <= now - grace
    }

    /// `dispatch.renew_lease`.
    mutating func renew(token asked: Int, lease: Int, now: Int) -> Bool {
        guard status == .sending, token == asked else { return false }
        leaseUntil = now + lease
        return true
    }

    /// `dispatch.finish_send`; nil when it was not recorded.
    mutating func finish(
        token asked: Int?,
        _ wanted: Status,
        ts found: Int?,
        wait: Int,
        counts: Bool,
        now: Int
    ) -> Status? {
        let isOurs = token == asked || faults.contains(.noFence)
        guard isOurs, status == .sending || status == .unknown,
            !(status == .unknown && wanted == .unknown)
        else { return nil }
        var final = wanted
        if wanted == .retryWait {
            if counts && attempts >= maxAttempts {
                final = .failed
            } else if cancelRequested && !faults.contains(.noCancelWish) {
                final = .cancelled
            } else if let deadline, deadline <= now + wait {
                final = .expired
            }
        }
        status = final
        if let found { ts = found }
        if !counts { attempts -= 1 }
        leaseUntil = nil
        if final != .unknown { token = nil }
        if final == .retryWait {
            nextAttemptAt = now + wait
            jobDueAt = now + wait
        }
        if final == .unknown { unknownSince = now }
        return final
    }

    /// `dispatch.expire_leases` for this row.
    mutating func expireLease(now: Int) -> Bool {
        guard status == .sending, let leaseUntil, leaseUntil < now || faults.contains(.noLease)
        else { return false }
        let isSafe = faults.contains(.bytesOutLate) && !isPosted
        return finish(
            token: token,
            isSafe ? .retryWait : .unknown,
            ts: nil,
            wait: 0,
            counts: true,
            now: now
        ) != nil
    }

    /// `dispatch.expire_deadlines` for this row.
    mutating func expireDeadline(now: Int) -> Bool {
        guard SendRow.waiting.contains(status), let deadline, deadline <= now else { return false }
        status = .expired
        return true
    }

    /// `dispatch.settle_unknown`; `fence` is the attempt that was looked for, nil from a person.
    mutating func settle(
        generation asked: Int,
        fence: Int?,
        _ wanted: Status,
        ts found: Int?,
        now: Int
    ) -> Bool {
        guard status == .unknown, generation == asked,
            fence == nil || fence == token || faults.contains(.noLookFence)
        else { return false }
        var final = wanted
        if wanted == .retryWait {
            if cancelRequested {
                final = .cancelled
            } else if attempts >= maxAttempts {
                final = .failed
            }
        }
        status = final
        if let found { ts = found }
        token = nil
        nextAttemptAt = now
        jobDueAt = nil
        return true
    }

    /// `dispatch.retry` of a request that waits.
    mutating func retry(now: Int) {
        if SendRow.waiting.contains(status) { nextAttemptAt = now }
    }

    enum Cancelling: String { case cancelled, requested, already, tooLate = "too_late" }

    /// `dispatch.cancel`.
    mutating func cancel() -> Cancelling {
        switch status {
        case .accepted, .dispatched, .retryWait:
            status = .cancelled
            return .cancelled
        case .sending, .unknown:
            cancelRequested = true
            return .requested
        case .cancelled: return .already
        case .sent, .failed, .expired: return .tooLate
        }
    }

    /// `dispatch.resend` of a request that has ended.
    mutating func resend(now: Int) -> Bool {
        guard isEnded else { return false }
        status = .accepted
        generation += 1
        attempts = 0
        token = nil
        cancelRequested = false
        nextAttemptAt = now
        acceptedAt = now
        jobDueAt = nil
        deadline = nil
        ts = nil
        unknownSince = nil
        return true
    }
}
