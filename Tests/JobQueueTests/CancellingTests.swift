import EventLoop
import RedisClient
import TestSupport
import Testing

@testable import JobQueue

@Suite("Cancelling a job", .serialized)
@LoopActor
struct CancellingTests {
    @Test("a job that waits, in whatever way, fails with the reason and is not run")
    func waiting() async throws {
        try await withBench { bench in
            var (late, low, parent) = (JobOptions(), JobOptions(), JobOptions())
            late.delay = 60_000
            low.priority = 5
            parent.attempts = 3
            let ids = try await bench.queue.add(contentsOf: [
                NewJob("ready"), NewJob("late", options: late), NewJob("low", options: low),
            ])
            let flow = Flow(
                queue: bench.queue.keys,
                job: NewJob("parent", options: parent),
                children: [Flow(queue: bench.queue.keys, job: NewJob("child"))]
            )
            let parentID = try #require(try await bench.queue.add(flow).first)
            for id in ids + [parentID] {
                #expect(try await bench.queue.cancel(id, reason: "a mistake") == .cancelled)
                let job = try #require(try await bench.queue.job(id))
                #expect(job.failedReason == "job cancelled: a mistake" && job.attemptsMade == 0)
                #expect(try await bench.queue.state(of: id) == .failed)
                #expect(try await bench.queue.cancel(id) == .tooLate)
            }
            #expect(try await !bench.events().contains("retries-exhausted"))
            var ran: [String] = []
            try await bench.withWorker(processor: { active in
                ran.append(active.job.name)
                return "1"
            }) { _ in
                try await comesAbout { try await bench.queue.counts()[.completed] == 1 }
            }
            #expect(ran == ["child"])
        }
    }

    @Test("a running job is stopped by its worker, is not tried again, and runs anew if asked")
    func running() async throws {
        try await withBench { bench in
            var options = JobOptions()
            options.attempts = 5
            let id = try await bench.queue.add(NewJob("n", options: options))
            var starts = 0
            try await bench.withWorker(processor: { _ in
                starts += 1
                if starts == 1 { try await EventLoop.shared.sleep(for: .seconds(60)) }
                return "1"
            }) { _ in
                try await comesAbout { starts == 1 }
                #expect(try await bench.queue.cancel(id, reason: "stop") == .requested)
                try await comesAbout { try await bench.queue.state(of: id) == .failed }
                let job = try #require(try await bench.queue.job(id))
                #expect(job.failedReason == "job cancelled: stop" && job.deferredFailure == nil)
                try await bench.queue.retry(id)
                try await comesAbout { try await bench.queue.state(of: id) == .completed }
            }
            #expect(starts == 2)
        }
    }

    @Test("a running job that is done before it is stopped is completed")
    func tooFast() async throws {
        try await withBench { bench in
            let id = try await bench.queue.add(NewJob("n"))
            let done = Latch()
            var starts = 0
            try await bench.withWorker(processor: { _ in
                starts += 1
                await done.wait()
                return "1"
            }) { _ in
                try await comesAbout { starts == 1 }
                #expect(try await bench.queue.cancel(id) == .requested)
                done.ring()
                try await comesAbout { try await bench.queue.state(of: id) == .completed }
                #expect(try await bench.queue.job(id)?.deferredFailure == nil)
                #expect(try await bench.queue.cancel(id) == .tooLate)
            }
        }
    }

    @Test("a cancelled job of a worker that died is not run by the next one")
    func ofTheDead() async throws {
        try await withBench { bench in
            var settings = WorkerConfiguration()
            settings.lock = .milliseconds(20)
            settings.stalledInterval = .milliseconds(50)
            let id = try await bench.queue.add(NewJob("n"))
            _ = try await bench.queue.exchange([], taking: 1, as: settings, token: "d", first: 0)
            #expect(try await bench.queue.cancel(id) == .requested)
            var ran = 0
            settings.lock = .seconds(30)
            try await bench.withWorker(
                settings,
                processor: { _ in
                    ran += 1
                    return "1"
                }
            ) { _ in
                try await comesAbout { try await bench.queue.state(of: id) == .failed }
            }
            #expect(ran == 0)
            #expect(try await bench.queue.job(id)?.failedReason == "job cancelled")
        }
    }

    @Test("a child that is cancelled does to its parent what its options say")
    func child() async throws {
        try await withBench { bench in
            var options = JobOptions()
            options.onParent = .fail
            let flow = Flow(
                queue: bench.queue.keys,
                job: NewJob("parent"),
                children: [Flow(queue: bench.queue.keys, job: NewJob("c", options: options))]
            )
            let ids = try await bench.queue.add(flow)
            #expect(try await bench.queue.cancel(ids[1]) == .cancelled)
            try await bench.withWorker(processor: { _ in "1" }) { _ in
                try await comesAbout { try await bench.queue.state(of: ids[0]) == .failed }
            }
        }
    }

    @Test(
        "what keeps no failed jobs keeps no cancelled one; a missing job and a planned run are told"
    )
    func others() async throws {
        try await withBench { bench in
            var options = JobOptions()
            options.removeOnFail = KeepPolicy(count: 0)
            let id = try await bench.queue.add(NewJob("n", options: options))
            #expect(try await bench.queue.cancel(id) == .cancelled)
            #expect(try await bench.queue.job(id) == nil)
            var error = await #expect(throws: JobQueueError.self) {
                try await bench.queue.cancel(id)
            }
            #expect(error?.code == .jobMissing)
            let scheduler = JobScheduler(id: "s", .every(60_000, offset: nil), name: "n")
            let run = try #require(try await bench.queue.upsert(scheduler))
            // The first run is due at once.
            error = await #expect(throws: JobQueueError.self) { try await bench.queue.cancel(run) }
            #expect(error?.code == .schedulerRun)
        }
    }
}
