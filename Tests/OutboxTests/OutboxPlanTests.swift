import EventLoop
import Foundation
import Testing

@testable import Outbox

@Suite("OutboxPlan")
struct OutboxPlanTests {
    @Test("events leave together; of each key one call, the oldest")
    func oldestCall() {
        let rows = [
            row(1, .event, "a"), row(2, .call, "a"), row(3, .call, "a"), row(4, .call, "b"),
            row(5, .event, "b"),
        ]
        let plan = OutboxPlan(rows: rows, busy: [])
        #expect(plan.events.map(\.id) == [1, 5])
        #expect(plan.calls.map(\.id) == [2, 4])
    }

    @Test("a busy key holds back its own calls and nobody else's")
    func busyKey() {
        let rows = [row(1, .call, "a"), row(2, .call, "b"), row(3, .call, "a")]
        let plan = OutboxPlan(rows: rows, busy: ["x a"])
        #expect(plan.calls.map(\.id) == [2])
    }

    @Test("the pause grows to its cap and is never nothing")
    func backoff() {
        var last: Duration = .zero
        for attempts in 1...20 {
            let shortest = RelayBackoff.delay(attempts: attempts, random: 0)
            let longest = RelayBackoff.delay(attempts: attempts, random: 1)
            #expect(shortest > .zero)
            #expect(shortest >= last / 2)
            #expect(longest <= RelayBackoff.cap)
            last = longest
        }
        #expect(last == RelayBackoff.cap)
    }

    private func row(_ id: Int64, _ kind: OutboxRow.Kind, _ key: String) -> OutboxRow {
        OutboxRow(
            id: id,
            eventID: UUID(),
            tenant: "t",
            kind: kind,
            target: "x",
            path: "/",
            key: key,
            keyVersion: id,
            payload: "{}",
            createdAt: 0,
            attempts: 0
        )
    }
}
