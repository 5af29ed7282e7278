import EventLoop
import Testing

@testable import dispatch_worker

@Suite("SendAttemptTests")
struct SendAttemptTests {
    private func name(_ step: SendAttempt.Step) -> String {
        switch step {
        case .claim: "claim"
        case .begin: "begin"
        case .post: "post"
        case .record(let plan): "record \(plan.ending.status)"
        case .unlock: "unlock"
        case .postpone(let wait): "postpone \(wait.milliseconds)"
        case .end: "end"
        }
    }

    private func path(_ facts: [SendAttempt.Fact]) -> [String] {
        var attempt = SendAttempt()
        return [name(attempt.first)] + facts.map { name(attempt.follow($0)) }
    }

    private func posted(_ outcome: dispatch_worker.SendOutcome) -> SendAttempt.Fact {
        .posted(SendReport(outcome: outcome), took: .milliseconds(1), random: 0.5)
    }

    @Test("a good attempt: lock and slots, commit, post, record, unlock")
    func good() {
        let facts: [SendAttempt.Fact] = [
            .claimed, .begun(attempts: 1, elapsed: .milliseconds(3)),
            posted(.sent(providerTS: "1.2")), .recorded("sent"), .done,
        ]
        #expect(
            path(facts)
                == ["claim", "begin", "post", "record sent", "unlock", "end"]
        )
    }

    @Test("what nobody knows keeps its lock")
    func unknown() {
        let facts: [SendAttempt.Fact] = [
            .claimed, .begun(attempts: 1, elapsed: .zero),
            posted(.unknown(reason: "reset")), .recorded("unknown"),
        ]
        #expect(path(facts).suffix(2) == ["record unknown", "end"])
    }

    @Test("who has to wait comes again, and frees the lock that it has")
    func waits() {
        #expect(
            path([.notNow(.milliseconds(70), holdsLock: false), .done])
                == ["claim", "postpone 70", "end"]
        )
        #expect(
            path([.notNow(.milliseconds(400), holdsLock: true), .done, .done])
                == ["claim", "postpone 400", "unlock", "end"]
        )
    }

    @Test("who learns too late that it may send does not send")
    func stoodStill() {
        let facts: [SendAttempt.Fact] = [
            .claimed, .begun(attempts: 1, elapsed: .milliseconds(20_001)),
            .recorded("retry_wait"),
        ]
        #expect(path(facts).suffix(2) == ["record retry_wait", "unlock"])
    }

    @Test("whose slot is another's by the time that it may send does not send")
    func slotGone() {
        #expect(
            path([.claimed, .slotGone, .recorded("retry_wait"), .done])
                == ["claim", "begin", "record retry_wait", "unlock", "end"]
        )
    }

    @Test("without an answer to the commit nothing is sent, and that is said")
    func commitUnanswered() {
        let facts: [SendAttempt.Fact] = [
            .claimed, .broken, .recorded(nil),
        ]
        #expect(path(facts).suffix(2) == ["record retry_wait", "unlock"])
    }

    @Test("without Redis nothing is sent, the request comes again, and its lock is freed")
    func withoutRedis() {
        #expect(
            path([.broken, .done, .done]) == ["claim", "postpone 1000", "unlock", "end"]
        )
    }

    @Test("a record that fails leaves lock and lease as they are")
    func recordFails() {
        let facts: [SendAttempt.Fact] = [
            .claimed, .begun(attempts: 1, elapsed: .zero),
            posted(.sent(providerTS: "1.2")), .broken,
        ]
        #expect(path(facts).suffix(2) == ["record sent", "end"])
    }

    @Test("the time until the last byte is shorter than the lease")
    func leaseOutlivesBytes() {
        let client: Duration = .seconds(20)
        let lease = Duration.milliseconds(60_000)
        #expect(SendAttempt.startLimit + client < lease)
    }
}

@Suite("UnknownDecisionTests")
struct UnknownDecisionTests {
    @Test("it is sent again only after a second look, and found is sent")
    func looks() {
        func after(_ finding: Finding, isSecond: Bool) -> UnknownDecision {
            UnknownDecision.after(finding, isSecond: isSecond, unknownFor: .seconds(9))
        }
        #expect(after(.absent, isSecond: false) == .lookAgain)
        #expect(
            after(.absent, isSecond: true)
                == .sendAgain(reason: "not_found_at_the_provider")
        )
        #expect(
            after(.found(providerTS: "1.2"), isSecond: true)
                == .sent(providerTS: "1.2")
        )
    }

    @Test("who cannot tell for long leaves it to a person")
    func parks() {
        func after(_ finding: Finding, hours: Int) -> UnknownDecision {
            UnknownDecision.after(finding, isSecond: true, unknownFor: .seconds(3600 * hours))
        }
        #expect(after(.later(reason: "limited"), hours: 23) == .later(reason: "limited"))
        #expect(after(.later(reason: "limited"), hours: 24) == .park(reason: "limited"))
        // A look that was made says what it says, however late.
        #expect(after(.absent, hours: 99) == .sendAgain(reason: "not_found_at_the_provider"))
        #expect(after(.impossible(reason: "x"), hours: 0) == .park(reason: "x"))
    }

    @Test("a policy that needs no look decides at once")
    func policies() {
        #expect(UnknownDecision.before(.verify) == nil)
        #expect(UnknownDecision.before(.park) == .leave)
        #expect(UnknownDecision.before(.resend) == .sendAgain(reason: "resent_by_policy"))
    }
}

@Suite("CircuitBreakerTests")
struct CircuitBreakerTests {
    private let start = MonotonicTime(nanoseconds: 1_000_000_000_000)

    @Test("it opens at half of the calls failing, lets one probe through and closes on its success")
    func opensAndCloses() {
        var breaker = CircuitBreaker()
        for _ in 0..<10 { breaker.note(failed: false, start) }
        for _ in 0..<9 { breaker.note(failed: true, start) }
        #expect(breaker.admit(start) == .zero)
        breaker.note(failed: true, start)
        #expect(breaker.admit(start) == .seconds(30))
        let later = start + .seconds(30)
        #expect(breaker.admit(later) == .zero)
        #expect(breaker.admit(later) == CircuitBreaker.probeWait)
        breaker.note(failed: false, later)
        #expect(breaker.admit(later) == .zero)
        #expect(breaker.admit(later) == .zero)
    }

    @Test("a probe that fails keeps it open; one that never ends is tried again")
    func probes() {
        var breaker = CircuitBreaker()
        for _ in 0..<10 { breaker.note(failed: true, start) }
        let later = start + .seconds(31)
        #expect(breaker.admit(later) == .zero)
        breaker.note(failed: true, later)
        #expect(breaker.admit(later) == .seconds(30))
        let last = later + .seconds(30)
        #expect(breaker.admit(last) == .zero)
        #expect(breaker.admit(last + .seconds(29)) == CircuitBreaker.probeWait)
        #expect(breaker.admit(last + .seconds(30)) == .zero)
    }

    @Test("failures of long ago, and few failures, do not open it")
    func forgets() {
        var breaker = CircuitBreaker()
        for _ in 0..<9 { breaker.note(failed: true, start) }
        #expect(breaker.admit(start) == .zero)
        breaker.note(failed: true, start + .seconds(31))
        #expect(breaker.admit(start + .seconds(31)) == .zero)
    }
}
