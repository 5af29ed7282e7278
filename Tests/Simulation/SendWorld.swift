import EventLoop
import TestSupport

@testable import dispatch_worker

/// One message request, its row, its lock, a provider and some workers, in one thread.
///
/// Everything that can go wrong between two steps does so by the random numbers: a worker dies or
/// stands still, an effect or its answer is lost, the same job comes twice, Redis forgets.
struct SendWorld {
    /// What may be wrong with the program; the simulation has to notice each of them.
    enum Mutant: CaseIterable, Sendable {
        case plainDelete, noFence, blindRetry, bytesOutAfterSend, noState, noLease, oneLook
        case noStartLimit, noLookFence, noCancelWish, noCount, noSweep, noLook
    }

    struct Violation: Error, CustomStringConvertible {
        let description: String
    }

    /// What the provider took.
    struct Delivery {
        let generation: Int
        let ts: Int
        let takenAt: Int
        let visibleAt: Int
    }

    /// A request on its way: the provider may take it although nobody waits any more.
    struct Flight {
        let generation: Int
        let arrivesAt: Int
        let isTaken: Bool
    }

    struct Worker {
        var attempt: SendAttempt
        var step: SendAttempt.Step
        var generation: Int
        var token: Int
        var pausedUntil = 0
        /// When the step under way was asked for.
        var askedAt = 0
        /// The provider's answer and when it comes.
        var answer: (at: Int, SendReport)?
        /// When its job is to come up again; nil when that is done.
        var retryIn: Int?
    }

    /// A look and what it saw, before its decision is written.
    struct Look {
        let generation: Int
        let fence: Int?
        let finding: Finding
        let isSecond: Bool
        var pausedUntil: Int
    }

    /// A job in the tenant's queue.
    struct Job {
        var dueAt: Int
        /// Who runs it, and until when it is held without a sign of life.
        var holder: Int?
        var lockUntil = 0
    }

    /// A dispatcher at its work: its event is handled between these steps.
    struct Dispatcher {
        let generation: Int
        var isCommitted = false
    }

    struct Timer {
        let generation: Int
        let isSecond: Bool
        var dueAt: Int
        var looks = 0
    }

    static let workersCount = 3
    static let lease = 60_000
    static let clientDeadline = 20_000
    static let networkMax = 3_000
    static let historyLagMax = 4_000
    static let lockTTL = 600_000

    let mutant: Mutant?
    var random: SeededRandom
    var now = 0
    var row = SendRow()
    var lock: (owner: Int, until: Int, since: Int)?
    var deliveries: [Delivery] = []
    var flights: [Flight] = []
    var workers = [Worker?](repeating: nil, count: SendWorld.workersCount)
    var timers: [Timer] = []
    var looks: [Look] = []
    /// The jobs in Redis, by generation.
    var jobs: [Int: Job] = [:]
    /// Whether the event of the acceptance is still to be handled.
    var hasEvent = true
    var dispatcher: Dispatcher?
    var dispatchLock: (generation: Int, until: Int)?
    var tokens = 0
    /// Posts of this generation that count as attempts.
    var spent = 0
    /// The last phase: nothing breaks any more, and everything has to come to its end.
    var isHealing = false

    init(_ mutant: Mutant?, _ random: SeededRandom) {
        self.mutant = mutant
        self.random = random
        switch mutant {
        case .noFence: row.faults = .noFence
        case .noState: row.faults = .noState
        case .noLease: row.faults = .noLease
        case .bytesOutAfterSend: row.faults = .bytesOutLate
        case .noLookFence: row.faults = .noLookFence
        case .noCancelWish: row.faults = .noCancelWish
        case .noCount: row.faults = .noCount
        default: break
        }
        row.maxAttempts = 2 + Int(self.random.next() % 6)
        if chance(1, 8) { row.deadline = 30_000 + Int(self.random.next() % 300_000) }
    }

    mutating func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    mutating func chance(_ part: Int, _ of: Int) -> Bool { below(of) < part }

    /// One thing happens.
    mutating func step() throws {
        switch below(22) {
        case 0...2: pass(below(400))
        case 3: pass(chance(1, 3) ? below(60_000) : below(3_000))
        case 4...13: try work(below(SendWorld.workersCount))
        case 14: reap()
        case 15: try verify()
        case 16: if !isHealing { interfere() }
        case 17: dispatch()
        case 18...20: keepJobs()
        default: if !isHealing, row.isEnded, chance(1, 3) { again() }
        }
        try check()
    }

    private mutating func pass(_ time: Int) {
        now += time
        for flight in flights where flight.arrivesAt <= now && flight.isTaken {
            deliveries.append(
                Delivery(
                    generation: flight.generation,
                    ts: 1 + deliveries.count,
                    takenAt: flight.arrivesAt,
                    visibleAt: flight.arrivesAt + below(SendWorld.historyLagMax)
                )
            )
        }
        flights.removeAll { $0.arrivesAt <= now }
        if let held = lock, held.until <= now { lock = nil }
    }

    private mutating func reap() {
        let wasUnknown = row.status == .unknown
        _ = row.expireLease(now: now)
        if !wasUnknown, row.status == .unknown { setTimer() }
        _ = row.expireDeadline(now: now)
    }

    mutating func setTimer() {
        timers.append(Timer(generation: row.generation, isSecond: false, dueAt: now + 3_000))
    }

    /// People, and Redis.
    private mutating func interfere() {
        switch below(10) {
        case 0: lock = nil
        case 5: forgetEverything()
        case 6: row.retry(now: now)
        case 1: if chance(1, 4) { _ = row.cancel() }
        case 2: if chance(1, 4) { again() }
        case 3:
            let index = below(SendWorld.workersCount)
            let until = now + below(120_000)
            if let worker = workers[index], worker.pausedUntil < until {
                workers[index]?.pausedUntil = until
            }
        case 4:
            let index = below(SendWorld.workersCount)
            workers[index] = nil
        default: break
        }
    }

    /// An operator sends once more what has ended.
    private mutating func again() {
        guard flights.isEmpty, row.resend(now: now) else { return }
        spent = 0
        hasEvent = true
    }

    /// What must hold at any time.
    private func check() throws {
        var seen = 0
        for delivery in deliveries where delivery.generation == row.generation { seen += 1 }
        guard seen <= 1 else {
            throw Violation(description: "delivered \(seen) times in generation \(row.generation)")
        }
        guard row.attempts >= 0, spent <= row.maxAttempts else {
            throw Violation(description: "\(spent) posts, \(row.maxAttempts) allowed")
        }
    }

    /// Lets everything come to its end, and looks whether it has.
    mutating func heal() throws {
        isHealing = true
        for index in workers.indices { workers[index]?.pausedUntil = now }
        for index in looks.indices { looks[index].pausedUntil = now }
        var rounds = 0
        while !row.isEnded || workers.contains(where: { $0 != nil }) || !flights.isEmpty {
            rounds += 1
            guard rounds < 5_000 else { throw Violation(description: "stuck in \(row.status)") }
            try step()
        }
        let own = deliveries.filter { $0.generation == row.generation }
        if row.status == .sent {
            guard own.contains(where: { $0.ts == row.ts }) else {
                throw Violation(description: "sent, but not with the provider")
            }
        } else if let taken = own.first {
            throw Violation(description: "\(row.status), but taken at \(taken.takenAt)")
        }
    }
}
