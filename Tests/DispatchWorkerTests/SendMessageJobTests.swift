import EventLoop
import Foundation
import JSON
import JobQueue
import Testing

@testable import dispatch_worker

@Suite("SendMessageJobTests")
struct SendMessageJobTests {
    private static let id = UUID()

    private func parse(_ text: String) throws(SendMessageJob.Malformed) -> SendMessageJob {
        try SendMessageJob(parsing: Array(text.utf8))
    }

    @Test("a job names its request, its tenant and its thread, and nothing else")
    func roundTrip() throws {
        let job = SendMessageJob(
            messageRequestID: SendMessageJobTests.id,
            tenant: "acme",
            threadTS: "1.000001"
        )
        #expect(try SendMessageJob(parsing: job.json.serialized()) == job)
        let members = job.json.objectValue?.members.map(\.key)
        #expect(members.map(Set.init) == ["messageRequestId", "tenant", "threadTs"])
        let without = SendMessageJob(messageRequestID: SendMessageJobTests.id, tenant: "acme")
        #expect(try SendMessageJob(parsing: without.json.serialized()) == without)
    }

    @Test("the longest tenant and thread fit into less than 1 KiB")
    func size() {
        let job = SendMessageJob(
            messageRequestID: SendMessageJobTests.id,
            tenant: String(repeating: "t", count: 63),
            threadTS: String(repeating: "1", count: 40)
        )
        #expect(job.json.serialized().count < 1024)
    }

    @Test(
        "what is not such a job is refused with its reason",
        arguments: [
            ("{", "it is not a JSON object"), ("[]", "it is not a JSON object"),
            ("{}", "messageRequestId is not a UUID"),
            (#"{"messageRequestId": "7", "tenant": "t"}"#, "messageRequestId is not a UUID"),
            ("{\"messageRequestId\": \"\(id)\"}", "tenant is missing"),
            ("{\"messageRequestId\": \"\(id)\", \"tenant\": 7}", "tenant is missing"),
            (
                "{\"messageRequestId\": \"\(id)\", \"tenant\": \"t\", \"token\": \"xoxb\"}",
                "the member 'token' is unknown"
            ),
            (
                "{\"messageRequestId\": \"\(id)\", \"tenant\": \"t\", \"threadTs\": 1.5}",
                "threadTs is not a text"
            ),
        ]
    )
    func refused(_ text: String, _ reason: String) {
        let error = #expect(throws: SendMessageJob.Malformed.self) { try parse(text) }
        #expect(error?.reason == reason)
    }

    @Test("more than 1 KiB is refused before it is read")
    func tooLong() {
        let text = String(repeating: " ", count: 1024)
        let error = #expect(throws: SendMessageJob.Malformed.self) { try parse(text) }
        #expect(error?.reason == "it has 1024 bytes")
    }

    @Test("the id of a job is its request and generation; foreign ids name no generation")
    func ids() {
        let id = SendMessageJobTests.id
        let jobID = MessageRequestQueue.jobID(id, generation: 3)
        #expect(jobID == "\(id.text).3" && JobID.fault(in: jobID) == nil)
        #expect(MessageRequestQueue.generation(ofJob: jobID, request: id) == 3)
        #expect(MessageRequestQueue.generation(ofJob: "17", request: id) == nil)
        #expect(MessageRequestQueue.generation(ofJob: jobID, request: UUID()) == nil)
    }

    @Test("the defaults: eight tries a second apart, at once, nothing kept")
    func defaults() {
        let options = SendMessageJobOptions().stored(id: "a.1")
        #expect(options.attempts == 8 && options.backoff == .fixed(1000, jitter: 0.5))
        #expect(options.delay == 0 && options.priority == 0 && options.id == "a.1")
        #expect(options.removeOnComplete == KeepPolicy.none)
        #expect(options.removeOnFail == KeepPolicy.none)
    }

    @Test("who is to leave earlier is served earlier, and all ranks are priorities of the queue")
    func ranks() {
        let now: Int64 = 1_795_000_000
        let urgent = SendMessageJobOptions.priority(rank: now)
        let normal = SendMessageJobOptions.priority(rank: now + 600)
        let low = SendMessageJobOptions.priority(rank: now + 7_200)
        #expect(urgent < normal && normal < low)
        // Three hours later the low one goes before a new normal one.
        #expect(low < SendMessageJobOptions.priority(rank: now + 3 * 3_600 + 600))
        for rank in stride(from: Int64(0), to: 3_000_000_000, by: 1_234_567) {
            let priority = SendMessageJobOptions.priority(rank: rank)
            #expect(priority >= 1 && priority <= Score.priorityMax)
        }
    }

    @Test("a result says what came of the run, and when the next one is")
    func results() {
        let id = SendMessageJobTests.id
        var result = JobProcessingResult(status: "retry_wait", messageRequestID: id)
        result.error = "ratelimited"
        result.retryIn = .seconds(2)
        #expect(
            result.json(now: 1_000)
                == [
                    "status": "retry_wait", "messageRequestId": .string(id.text),
                    "error": "ratelimited", "retryAt": 3_000,
                ]
        )
        result = JobProcessingResult(status: "sent", messageRequestID: id, providerTS: "1.2")
        #expect(
            result.json(now: 0)
                == [
                    "status": "sent", "messageRequestId": .string(id.text), "providerTs": "1.2",
                ]
        )
        result.isSkipped = true
        #expect(result.json(now: 0)["skipped"] == true)
    }
}
