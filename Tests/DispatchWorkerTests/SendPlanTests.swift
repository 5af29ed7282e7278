import EventLoop
import Testing

@testable import dispatch_worker

@Suite("SendPlanTests")
struct SendPlanTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let outcome: dispatch_worker.SendOutcome
        let status: String
        var counts = true
        var wait: Duration?
        var keepsLock = false
        var pauseReason: String?
        var block: Duration?

        var testDescription: String { "\(outcome)" }
    }

    static let rows: [Row] = [
        Row(outcome: .sent(providerTS: "1.2"), status: "sent"),
        Row(outcome: .retry(reason: "connect"), status: "retry_wait", wait: .seconds(4)),
        Row(
            outcome: .rateLimited(wait: .seconds(7), reason: "ratelimited"),
            status: "retry_wait",
            counts: false,
            wait: .milliseconds(7_250),
            block: .seconds(7)
        ),
        Row(
            outcome: .workspaceRefused(reason: "token_revoked"),
            status: "retry_wait",
            counts: false,
            wait: .seconds(30),
            pauseReason: "token_revoked"
        ),
        Row(outcome: .failed(reason: "no_text"), status: "failed"),
        Row(outcome: .unknown(reason: "reset"), status: "unknown", keepsLock: true),
    ]

    @Test("each outcome has its consequences", arguments: rows)
    func consequences(_ row: Row) {
        let plan = SendPlan(
            SendReport(outcome: row.outcome, httpStatus: 200),
            attempt: 3,
            random: 0.5,
            took: .milliseconds(5)
        )
        #expect(plan.ending.status == row.status)
        #expect(plan.ending.counts == row.counts)
        #expect(plan.ending.wait == row.wait)
        #expect(plan.ending.httpStatus == 200)
        #expect(plan.ending.took == .milliseconds(5))
        #expect(plan.keepsLock == row.keepsLock)
        #expect(plan.pauseReason == row.pauseReason)
        #expect(plan.block == row.block)
    }

    @Test("a sent message keeps the provider's id, and any other its reason")
    func content() {
        let sent = SendPlan(
            SendReport(outcome: .sent(providerTS: "1.2")),
            attempt: 1,
            random: 0,
            took: .zero
        )
        #expect(sent.ending.providerTS == "1.2")
        #expect(sent.ending.error == nil)
        let failed = SendPlan(
            SendReport(outcome: .failed(reason: "no_text")),
            attempt: 1,
            random: 0,
            took: .zero
        )
        #expect(failed.ending.error == "no_text")
    }
}

@Suite("BackoffTests")
struct BackoffTests {
    @Test(
        "the pause is a part of 2 to the power of the attempt, 900 s at most",
        arguments: [
            (0, 1_000), (1, 2_000), (2, 4_000), (5, 32_000), (9, 512_000), (10, 900_000),
            (50, 900_000), (Int.max, 900_000), (-1, 1_000),
        ]
    )
    func ceiling(_ attempt: Int, _ milliseconds: Int) {
        #expect(Backoff.delay(attempt: attempt, random: 1) == .milliseconds(milliseconds))
        #expect(Backoff.delay(attempt: attempt, random: 0) == .zero)
        #expect(Backoff.delay(attempt: attempt, random: 0.5) == .milliseconds(milliseconds / 2))
    }
}

@Suite("SlotForecastTests")
struct SlotForecastTests {
    private let start = MonotonicTime(nanoseconds: 1_000_000_000_000)

    @Test("messages of one channel are spread over its slots, other channels are free")
    func spread() {
        var forecast = SlotForecast()
        let waits = (0..<3).map { _ in
            forecast.wait("a", wait: .milliseconds(400), interval: .seconds(1), now: start)
        }
        #expect(waits == [.milliseconds(400), .milliseconds(1_400), .milliseconds(2_400)])
        let other = forecast.wait("b", wait: .milliseconds(10), interval: .seconds(1), now: start)
        #expect(other == .milliseconds(10))
    }

    @Test("places that have passed are forgotten")
    func passes() {
        var forecast = SlotForecast()
        _ = forecast.wait("a", wait: .seconds(1), interval: .seconds(1), now: start)
        let later = start + .seconds(10)
        let wait = forecast.wait("a", wait: .milliseconds(5), interval: .seconds(1), now: later)
        #expect(wait == .milliseconds(5))
    }

    @Test("within the horizon each has its place; what finds none is laid aside")
    func horizon() {
        var forecast = SlotForecast()
        let places = (0..<200).map { _ in
            forecast.wait("a", wait: .seconds(1), interval: .seconds(1), now: start)
        }
        let inside = Int(SlotForecast.horizon.inSeconds)
        #expect(places.prefix(inside) == (1...inside).map { .seconds($0) }[...])
        #expect(places.dropFirst(inside).allSatisfy { $0 == nil })
    }

    @Test("at the limit of channels those of the past are dropped, the others stay")
    func limit() {
        var forecast = SlotForecast()
        for index in 0..<SlotForecast.sweepAbove {
            _ = forecast.wait("k\(index)", wait: .seconds(1), interval: .seconds(1), now: start)
        }
        let wait = forecast.wait("k0", wait: .seconds(1), interval: .seconds(1), now: start)
        #expect(wait == .seconds(2))
    }
}
