import JSON
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

/// A job with these fields.
func job(_ fields: [String: String], id: String = "1") -> Job {
    Job(
        id: id,
        fields: .array(
            fields.flatMap { [RedisValue.string(Array($0.utf8)), .string(Array($1.utf8))] }
        )
    )
}

@Suite("Jobs and their options")
struct JobTests {
    @Test("options are stored under the short names and read back")
    func roundTrip() {
        var options = JobOptions()
        options.attempts = 4
        options.backoff = .exponential(10, jitter: 0.5)
        options.delay = 7
        options.priority = 9
        options.isLIFO = true
        options.removeOnComplete = KeepPolicy(count: 5, age: 60)
        options.removeOnFail = KeepPolicy.none
        options.stackTraceLimit = 3
        options.keepLogs = 8
        options.sizeLimit = 100
        options.id = "x"
        options.timestamp = 1_795_249_012_013
        options.deduplication = Deduplication(id: "d", ttl: 5, extend: true, replace: true)
        options.onParent = .ignore
        options.others = ["mine": ["a", 1.5, nil]]
        let text = JSON.object(options.json).text
        #expect(text.contains(#""de":{"id":"d","ttl":5,"extend":true,"replace":true}"#))
        #expect(text.contains(#""kl":8"#) && text.contains(#""idof":true"#))
        #expect(!text.contains("null,") && !text.contains("e+"))
        #expect(JobOptions(text: Array(text.utf8)) == options)
    }

    @Test("defaults store the number of attempts alone")
    func defaults() {
        #expect(JSON.object(JobOptions().json).text == #"{"attempts":0}"#)
    }

    @Test(
        "what cannot be stored is refused with its reason",
        arguments: [
            ("12", 0, Int64(0), "whole number"), ("0", 0, 0, "'0'"), ("0:1", 0, 0, "'0'"),
            ("a:b", 0, 0, "colon"), ("", 0, 0, "empty"), ("ok", -1, 0, "priority"),
            ("ok", 2_097_152, 0, "priority"), ("ok", 1, -1, "delay"),
            ("ok", 1, .max, "delay"),
        ]
    )
    func faults(id: String, priority: Int, delay: Int64, words: String) throws {
        var options = JobOptions()
        options.id = id
        options.priority = priority
        options.delay = delay
        let fault = try #require(options.fault(data: "{}", hasParent: false))
        #expect(fault.contains(words))
    }

    @Test(
        "ids with two colons are a scheduler's; 007 is no counter's",
        arguments: ["repeat:a:1", "007"]
    )
    func ids(id: String) {
        #expect(JobID.fault(in: id) == nil)
    }

    @Test("data over its limit, and deduplication below a parent, are refused")
    func limits() {
        var options = JobOptions()
        options.sizeLimit = 3
        #expect(options.fault(data: "\"é\"", hasParent: false) != nil)
        #expect(options.fault(data: "{}", hasParent: false) == nil)
        options.deduplication = Deduplication(id: "d")
        #expect(options.fault(data: "{}", hasParent: true) != nil)
    }

    @Test("a job's fields are read, and a child's key is cut at its last colon")
    func fields() {
        let made = job([
            "name": "n", "data": "[1]", "opts": #"{"attempts":2}"#, "timestamp": "5", "ats": "3",
            "atm": "2", "stc": "1", "stacktrace": #"["a","b"]"#, "priority": "4", "defa": "why",
        ])
        #expect(made.attemptsStarted == 3 && made.attemptsMade == 2 && made.stalledCount == 1)
        #expect(made.stackTrace == ["a", "b"] && made.options?.attempts == 2)
        #expect(made.deferredFailure == "why" && made.priority == 4)
        #expect(QueueKeys.split(jobKey: "bull:q:7")?.id == "7")
        #expect(QueueKeys.split(jobKey: "bull:q:")?.id == nil)
    }

    @Test("names with a colon and empty names are refused", arguments: ["", "a:b"])
    func names(name: String) {
        #expect(throws: JobQueueError.self) { try QueueKeys(queue: name) }
    }

    @Test("no bytes in any field make reading fail")
    func fuzz() {
        var random = SeededRandom(seed: 6)
        let names = [
            "name", "data", "opts", "timestamp", "delay", "priority", "ats", "atm", "stc",
            "processedOn", "finishedOn", "progress", "returnvalue", "failedReason", "stacktrace",
            "parentKey", "rjk", "deid", "defa", "pb",
        ]
        let seeds = ["", "-1", "1e9", "99999999999999999999", "{", "{\"attempts\":null}", "[1]"]
        for round in 0..<20_000 {
            var fields: [RedisValue] = []
            for name in names {
                let seed = seeds[Int.random(in: 0..<seeds.count, using: &random)]
                let noise = (0..<Int.random(in: 0...6, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                fields += [.string(Array(name.utf8)), .string(Array(seed.utf8) + noise)]
            }
            let made = Job(id: "\(round)", fields: .array(fields))
            _ = made.dataText
            _ = FailureDecision.after(failureOf: made, isFinal: false, random: 0.5)
        }
    }
}
