import EventLoop
import Testing

@testable import HTTPServer

@Suite("ConnectionStateMachine")
struct ConnectionStateMachineTests {
    /// What can happen to a connection; times are seconds since it was accepted.
    enum Event: Sendable {
        case usedUp(midHead: Bool), head(keepsAlive: Bool), request
        case answer(unread: Bool), finish, stream
        case flushed, blocked(progressed: Bool)
        case end(more: Bool), lingered(Int), lost, drain, timer
    }

    /// One event, when it happens, and what the machine says to do.
    struct Step: Sendable {
        let at: Double
        let event: Event
        let action: String
        init(_ at: Double, _ event: Event, _ action: String = "") {
            self.at = at
            self.event = event
            self.action = action
        }
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let steps: [Step]
        init(_ name: String, _ steps: Step...) {
            testDescription = name
            self.steps = steps
        }
    }

    private static let open: [Step] = [Step(0, .head(keepsAlive: true)), Step(0, .request)]

    static let rows = [
        Row(
            "who says nothing is dropped without a word",
            Step(9, .timer),
            Step(10, .timer, "close")
        ),
        Row(
            "the head's deadline runs since the connection was accepted",
            Step(8, .usedUp(midHead: true)),
            Step(9.9, .usedUp(midHead: true)),
            Step(10, .timer, "requestTimeout")
        ),
        Row(
            "the body's deadline does not move with its bytes",
            Step(2, .head(keepsAlive: true)),
            Step(31, .usedUp(midHead: false)),
            Step(31.9, .timer),
            Step(32, .timer, "requestTimeout")
        ),
        Row(
            "a handler has its time from the end of the body",
            Step(1, .head(keepsAlive: true)),
            Step(20, .request),
            Step(49, .timer),
            Step(50, .timer, "handlerTimeout")
        ),
        Row(
            "an idle connection is closed after its time",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .answer(unread: false), "keepsAlive"),
            Step(1, .flushed, "carryOn"),
            Step(75.9, .timer),
            Step(76, .timer, "close")
        ),
        Row(
            "the second head has its time from its first byte",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .answer(unread: false), "keepsAlive"),
            Step(60, .usedUp(midHead: true)),
            Step(65, .usedUp(midHead: true)),
            Step(69, .timer),
            Step(70, .timer, "requestTimeout")
        ),
        Row(
            "an empty line between requests begins nothing",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .answer(unread: false), "keepsAlive"),
            Step(60, .usedUp(midHead: false)),
            Step(76, .timer, "close")
        ),
        Row(
            "a client that wants to close is closed once it has its answer and has closed",
            Step(0, .head(keepsAlive: false)),
            Step(0, .request),
            Step(1, .answer(unread: false), "closes"),
            Step(1, .blocked(progressed: false)),
            Step(2, .flushed, "halfClose"),
            Step(2.1, .end(more: false), "close")
        ),
        Row(
            "a close lingers for its time",
            Step(0, .head(keepsAlive: false)),
            Step(0, .request),
            Step(1, .answer(unread: true), "closes"),
            Step(1, .flushed, "halfClose"),
            Step(1.5, .lingered(1000), "goOn"),
            Step(1.9, .timer),
            Step(2, .timer, "close")
        ),
        Row(
            "a refusal lingers, until enough was thrown away",
            Step(0, .finish),
            Step(0, .flushed, "halfClose"),
            Step(0.1, .lingered(1_048_576), "goOn"),
            Step(0.2, .lingered(1), "close")
        ),
        Row(
            "a refusal lingers, until the peer closes",
            Step(0, .finish),
            Step(0, .flushed, "halfClose"),
            Step(0.1, .end(more: false), "close")
        ),
        Row(
            "a peer that has closed already is not waited for",
            Step(0, .usedUp(midHead: true)),
            Step(0, .end(more: false), "refuse"),
            Step(0, .finish),
            Step(0, .flushed, "close")
        ),
        Row(
            "half-closed with a request in flight: answered, then closed",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .end(more: false), "carryOn"),
            Step(2, .answer(unread: false), "closes"),
            Step(2, .flushed, "close")
        ),
        Row(
            "half-closed with more requests behind: those as well",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .end(more: true), "carryOn"),
            Step(2, .answer(unread: true), "keepsAlive"),
            Step(2, .head(keepsAlive: true)),
            Step(2, .request),
            Step(3, .answer(unread: false), "closes"),
            Step(3, .flushed, "close")
        ),
        Row("half-closed before a byte", Step(1, .end(more: false), "close")),
        Row(
            "half-closed in a body",
            Step(0, .head(keepsAlive: true)),
            Step(1, .end(more: false), "refuse")
        ),
        Row(
            "a client that takes nothing is cut",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .answer(unread: false), "keepsAlive"),
            Step(1, .blocked(progressed: false)),
            Step(9, .blocked(progressed: false)),
            Step(15.9, .timer),
            Step(16, .timer, "cut")
        ),
        Row(
            "a client that takes a fair amount is not",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .answer(unread: false), "keepsAlive"),
            Step(1, .blocked(progressed: false)),
            Step(9, .blocked(progressed: true)),
            Step(16, .timer),
            Step(20, .flushed, "carryOn"),
            Step(24, .timer)
        ),
        Row(
            "a quiet stream gets comments",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .stream),
            Step(15.9, .timer),
            Step(16, .timer, "streamComment"),
            Step(30.9, .timer),
            Step(31, .timer, "streamComment")
        ),
        Row(
            "a stream's reader says by closing that it has gone",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .stream),
            Step(2, .end(more: false), "close")
        ),
        Row(
            "a stream that ends closes the connection",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .stream),
            Step(2, .finish),
            Step(2, .flushed, "halfClose")
        ),
        Row(
            "a drain closes what is idle",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .answer(unread: false), "keepsAlive"),
            Step(1, .flushed, "carryOn"),
            Step(2, .drain, "close")
        ),
        Row(
            "a drain lets the request in flight end",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .drain, "carryOn"),
            Step(2, .answer(unread: false), "closes"),
            Step(2, .flushed, "halfClose")
        ),
        Row(
            "a drain waits a moment for the first request of a new connection",
            Step(1, .drain, "carryOn"),
            Step(1.9, .timer),
            Step(2, .timer, "close")
        ),
        Row(
            "a drain lets a request that has begun arrive",
            Step(1, .usedUp(midHead: true)),
            Step(2, .drain, "carryOn"),
            Step(5, .head(keepsAlive: true)),
            Step(6, .request),
            Step(7, .answer(unread: false), "closes")
        ),
        Row(
            "a drain ends streams",
            Step(0, .head(keepsAlive: true)),
            Step(0, .request),
            Step(1, .stream),
            Step(2, .drain, "endStream")
        ),
        Row(
            "nothing happens after the end",
            Step(0, .lost),
            Step(1, .end(more: false), "close"),
            Step(100, .timer),
            Step(100, .drain, "carryOn"),
            Step(100, .flushed, "carryOn")
        ),
    ]

    @Test("events lead to actions", arguments: rows)
    func table(row: Row) {
        let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
        var machine = ConnectionStateMachine(
            deadlines: HTTPDeadlines(),
            lingerBytesMax: 1_048_576,
            now: start
        )
        for (index, step) in row.steps.enumerated() {
            let now = start + .milliseconds(Int(step.at * 1000))
            let action = perform(step.event, on: &machine, now: now)
            #expect(action == step.action, "step \(index): \(step.event)")
        }
    }

    private func perform(
        _ event: Event,
        on machine: inout ConnectionStateMachine,
        now: MonotonicTime
    ) -> String {
        switch event {
        case .usedUp(let midHead): machine.inputUsedUp(isMidHead: midHead, now: now)
        case .head(let keepsAlive): machine.headCompleted(keepsAlive: keepsAlive, now: now)
        case .request: machine.requestCompleted(now: now)
        case .answer(let unread):
            let keepsAlive = machine.keepsAliveAfterAnswer(hasMoreInput: unread)
            machine.answered(keepsAlive: keepsAlive, now: now)
            return keepsAlive ? "keepsAlive" : "closes"
        case .finish: machine.finish()
        case .stream: machine.streamStarted(now: now)
        case .flushed: return "\(machine.outputFlushed(now: now))"
        case .blocked(let progressed): machine.outputBlocked(progressed: progressed, now: now)
        case .end(let more): return "\(machine.inputEnded(hasMoreInput: more))"
        case .lingered(let count): return machine.lingered(count) ? "close" : "goOn"
        case .lost: machine.lost()
        case .drain: return "\(machine.drainStarted(now: now))"
        case .timer:
            // Before a deadline the owner is told nothing to do, which is left out of the rows.
            let action = machine.timerFired(now: now)
            return action == .carryOn ? "" : "\(action)"
        }
        return ""
    }

    @Test("the published deadlines")
    func defaults() {
        let deadlines = HTTPDeadlines()
        #expect(deadlines.head == .seconds(10))
        #expect(deadlines.body == .seconds(30))
        #expect(deadlines.idle == .seconds(75))
        #expect(deadlines.handler == .seconds(30))
        #expect(deadlines.writeStall == .seconds(15))
        #expect(deadlines.linger == .seconds(1))
        #expect(deadlines.shortest == .seconds(10))
        #expect(HTTPServerConfiguration().lingerBytesMax == 1_048_576)
        #expect(HTTPServerConfiguration().idempotencyWait == .seconds(5))
        #expect(Route.bodyLimitDefault == 65536)
    }

    @Test("connections leave descriptors for the stores")
    func descriptors() {
        let configuration = HTTPServerConfiguration()
        #expect(configuration.limited(to: 1024).connectionsMax == 1024 - 128)
        #expect(configuration.limited(to: 1 << 20).connectionsMax == 16_384)
        #expect(configuration.limited(to: 10).connectionsMax == 1)
    }

    @Test("a request that begins never brings a deadline sooner than the timer looks ahead")
    func horizon() {
        let start = MonotonicTime(nanoseconds: 0)
        let deadlines = HTTPDeadlines()
        var machine = ConnectionStateMachine(deadlines: deadlines, lingerBytesMax: 1, now: start)
        for second in 0..<100 {
            let now = start + .seconds(second)
            machine.headCompleted(keepsAlive: true, now: now)
            #expect(machine.nextDeadline >= now + deadlines.shortest)
            machine.requestCompleted(now: now)
            #expect(machine.nextDeadline >= now + deadlines.shortest)
            machine.answered(keepsAlive: true, now: now)
            #expect(machine.nextDeadline >= now + deadlines.shortest)
        }
    }
}
