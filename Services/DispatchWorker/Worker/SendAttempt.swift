internal import EventLoop

/// One attempt at sending a request, from its lock to its record.
///
/// Pure: it is told what a step brought and says which one follows; who performs the steps may die,
/// stand still or lose an answer between any two of them. What it promises rests on three things:
///
/// - the commit of ``Step/begin`` comes before the first byte, so whoever finds its lease run out
///   knows that the message may be with the provider;
/// - that lease outlives every byte of the attempt: ``startLimit`` and the client's own deadline
///   together are shorter than it;
/// - the record counts only with the token of the attempt.
struct SendAttempt: Sendable {
    /// An attempt that learns later than this after asking that it may send, does not send: a third
    /// of the default lease.
    ///
    /// A process that stood still may find its lease gone and the message sent by another.
    static let startLimit: Duration = .seconds(20)
    /// How long a request rests while Redis is away.
    static let coordinationWait: Duration = .seconds(1)

    /// What is to be done next.
    enum Step: Sendable {
        /// Take the send lock and the provider's slots.
        case claim
        /// Commit that from now on the message may have been sent.
        case begin
        /// Talk to the provider.
        case post
        /// Commit what came of it.
        case record(SendPlan)
        /// Free the send lock.
        case unlock
        /// Have the request come again later.
        case postpone(Duration)
        /// Nothing more.
        case end

        /// How a trace names it; nil for what is recorded by its parts.
        var spanName: String? {
            switch self {
            case .claim: "dispatch.claim"
            case .begin: "dispatch.commit"
            case .unlock: "dispatch.unlock"
            case .postpone: "dispatch.postpone"
            case .post, .record, .end: nil
            }
        }
    }

    /// What came of a step.
    enum Fact: Sendable {
        /// Lock and slots are ours.
        case claimed
        /// They are not, or its workspace rests; ask again after this long.
        case notNow(Duration, holdsLock: Bool)
        /// `elapsed` since it was asked for.
        case begun(attempts: Int, elapsed: Duration)
        /// It was begun so long after its slots were taken that they are another's by now.
        case slotGone
        /// Somebody else has it, or it is not to be sent (any more); `later` when that may change.
        case notOurs(later: Duration?)
        /// `random` from 0 to 1, for the jitter.
        case posted(SendReport, took: Duration, random: Double)
        /// The state that came of it; nil when the request is somebody else's by now.
        case recorded(String?)
        /// It is done; there is nothing to tell.
        case done
        /// It failed, and nobody knows whether it had its effect.
        case broken
    }

    private let startLimit: Duration
    private var step = Step.claim
    private var holdsLock = false
    private var attempts = 0

    /// An attempt before its first step.
    init(startLimit: Duration = SendAttempt.startLimit) {
        self.startLimit = startLimit
    }

    /// The step that begins it.
    var first: Step { .claim }

    /// The step that follows from what came of the last one.
    mutating func follow(_ fact: Fact) -> Step {
        step = next(fact)
        return step
    }

    private mutating func next(_ fact: Fact) -> Step {
        switch fact {
        case .claimed:
            holdsLock = true
            return .begin
        case .notNow(let wait, let holds):
            holdsLock = holds
            return .postpone(wait)
        case .begun(let attempts, let elapsed):
            self.attempts = attempts
            if elapsed > startLimit { return .record(SendPlan(notSent: "stood_still")) }
            return .post
        case .slotGone: return .record(SendPlan(notSent: "slot_gone"))
        case .notOurs(let later): return later.map { .postpone($0) } ?? .unlock
        case .posted(let report, let took, let random):
            return .record(SendPlan(report, attempt: attempts, random: random, took: took))
        case .recorded:
            // Unknown keeps its lock until somebody has settled it.
            if case .record(let plan) = step, plan.keepsLock { return .end }
            return .unlock
        case .done:
            if case .postpone = step, holdsLock { return .unlock }
            return .end
        case .broken: return broken()
        }
    }

    private mutating func broken() -> Step {
        switch step {
        case .claim:
            // Redis may have taken the lock for us.
            holdsLock = true
            return .postpone(SendAttempt.coordinationWait)
        // It may be committed. Nothing was sent, and saying so harms nobody: the token is ours.
        case .begin: return .record(SendPlan(notSent: "begin_unanswered"))
        case .postpone: return holdsLock ? .unlock : .end
        // The lease runs out, and the message is looked for.
        case .post, .record, .unlock, .end: return .end
        }
    }
}
