import JSON
import Testing

@testable import JobQueue

@Suite("Back-off and failures")
struct BackoffTests {
    @Test(
        "waits follow their type and the number of failures",
        arguments: [
            (Backoff.fixed(100), 1, Int64(100)), (.fixed(100), 7, 100), (.fixed(0), 1, 0),
            (.exponential(200), 1, 200), (.exponential(200), 2, 400), (.exponential(200), 5, 3200),
            (.exponential(1), 2000, Int64(Backoff.delayMax)), (.fixed(-5), 1, 0),
        ]
    )
    func waits(backoff: Backoff, attempt: Int, wait: Int64) {
        #expect(backoff.wait(afterAttempt: attempt, random: 0.99) == wait)
    }

    @Test(
        "jitter takes its part of the wait at random",
        arguments: [
            (1.0, 0.0, Int64(0)), (1, 0.5, 500), (0.5, 0, 500), (0.5, 0.999, 999), (0.25, 0, 750),
        ]
    )
    func jitter(part: Double, random: Double, wait: Int64) {
        #expect(Backoff.fixed(1000, jitter: part).wait(afterAttempt: 1, random: random) == wait)
    }

    @Test("an unknown type has no wait of its own")
    func unknown() {
        #expect(Backoff(type: "mine", delay: 5).wait(afterAttempt: 1, random: 0) == nil)
    }

    @Test(
        "a failure is retried, put off or final",
        arguments: [
            (#"{"attempts":3}"#, "0", false, FailureDecision.retryNow),
            (#"{"attempts":3}"#, "2", false, .fail), (#"{"attempts":3}"#, "0", true, .fail),
            (#"{"attempts":0}"#, "0", false, .fail), (#"{}"#, "0", false, .fail),
            (#"{"attempts":2,"backoff":50}"#, "0", false, .retryAfter(50)),
            (
                #"{"attempts":4,"backoff":{"type":"exponential","delay":10}}"#, "2", false,
                .retryAfter(40)
            ),
            (#"{"attempts":2,"backoff":{"type":"mine","delay":1}}"#, "0", false, .retryAfter(77)),
            (#"{"attempts":2,"backoff":{"type":"never","delay":1}}"#, "0", false, .fail),
            (#"{"attempts":2,"backoff":{"type":"fixed","delay":0}}"#, "0", false, .retryNow),
        ]
    )
    func decisions(opts: String, made: String, isFinal: Bool, decision: FailureDecision) {
        let job = job(["opts": opts, "atm": made])
        let strategy: (String, Int) -> Int64? = { type, _ in type == "mine" ? 77 : -1 }
        #expect(
            FailureDecision.after(
                failureOf: job,
                isFinal: isFinal,
                random: 0,
                strategy: strategy
            ) == decision
        )
    }

    @Test("the last traces stay, as many as the job keeps")
    func traces() {
        #expect(FailureDecision.traces(["a", "b"], adding: "c", limit: nil) == ["a", "b", "c"])
        #expect(FailureDecision.traces(["a", "b"], adding: "c", limit: 2) == ["b", "c"])
        #expect(FailureDecision.traces(["a", "b"], adding: "c", limit: 0) == [])
    }
}

@Suite("Keep policy")
struct KeepPolicyTests {
    @Test(
        "all forms are read, and written back as peers write them",
        arguments: [
            ("true", KeepPolicy.none, "true"), ("false", .all, "false"),
            ("3", KeepPolicy(count: 3), "3"), ("0", .none, "true"), ("-1", .all, "false"),
            (#"{"age":5}"#, KeepPolicy(age: 5), #"{"age":5}"#),
            (
                #"{"age":5,"count":2,"limit":7}"#, KeepPolicy(count: 2, age: 5, limit: 7),
                #"{"age":5,"count":2,"limit":7}"#
            ),
            (#"{"count":4}"#, KeepPolicy(count: 4), "4"),
        ]
    )
    func forms(text: String, policy: KeepPolicy, written: String) throws {
        let json = try JSON(parsing: Array(text.utf8))
        #expect(KeepPolicy(json) == policy)
        #expect(policy.json.text == written)
    }

    @Test("what is no policy is none", arguments: ["null", #""all""#, "[]", "1.5"])
    func refused(text: String) throws {
        #expect(KeepPolicy(try JSON(parsing: Array(text.utf8))) == nil)
    }
}
