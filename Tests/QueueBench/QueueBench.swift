import ArgumentParser
import EventLoop
import Glibc
import JSON
import JobQueue
import RedisClient

/// Measures the queue; `Tests/Bench/queue` runs it beside other clients.
@main
struct QueueBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue-bench",
        subcommands: [Add.self, Work.self, Latency.self]
    )
}

struct Place: ParsableArguments {
    @Option var port: Int
    @Option var queue = "bench"

    @LoopActor
    func open() async throws -> (Queue, RedisConfiguration) {
        let server = try RedisConfiguration(url: "redis://127.0.0.1:\(port)")
        let redis = RedisClient(server)
        try await redis.start()
        return (Queue(try QueueKeys(queue: queue), redis: redis), server)
    }
}

/// Adds jobs, one after the other or in bulk.
struct Add: ParsableCommand {
    @OptionGroup var place: Place
    @Option var count = 20_000
    @Option var bulk = 1
    /// Milliseconds between two jobs, which then hold the time when they were added.
    @Option var gap: Int64 = 0

    func run() throws {
        try EventLoop.run { [self] in
            let (queue, _) = try await place.open()
            let begun = MonotonicTime.now()
            var left = count
            while left > 0 {
                if gap > 0 { try await EventLoop.shared.sleep(for: .milliseconds(gap)) }
                if bulk == 1 {
                    try await queue.add(NewJob("n", data: "\(MonotonicTime.now().nanoseconds)"))
                } else {
                    let part = min(bulk, left)
                    try await queue.add(
                        contentsOf: (0..<part).map { NewJob("n", data: "{\"a\":\($0)}") }
                    )
                }
                left -= bulk
            }
            report(["rate": Double(count) / (MonotonicTime.now() - begun).inSeconds])
        }
    }
}

/// Runs jobs that do nothing.
struct Work: ParsableCommand {
    @OptionGroup var place: Place
    @Option var count = 20_000
    @Option var concurrency = 50

    func run() throws {
        try EventLoop.run { [self] in
            let (queue, server) = try await place.open()
            var settings = WorkerConfiguration()
            settings.concurrency = concurrency
            let ending = Ending(count)
            let worker = Worker(
                queue,
                connection: server,
                configuration: settings,
                observer: { if case .completed = $0 { ending.note() } },
                processor: { _ in "null" }
            )
            let (begun, cpu) = (MonotonicTime.now(), cpuSeconds())
            await worker.start()
            await ending.wait()
            let (time, used) = (MonotonicTime.now() - begun, cpuSeconds() - cpu)
            let memory = peakMemory()
            await worker.stop()
            report([
                "rate": Double(count) / time.inSeconds,
                "cpu_us_per_job": used / Double(count) * 1e6, "peak_mb": memory,
            ])
        }
    }
}

/// How long after it was added a job starts, in an idle worker.
struct Latency: ParsableCommand {
    @OptionGroup var place: Place
    @Option var count = 500

    func run() throws {
        try EventLoop.run { [self] in
            let (queue, server) = try await place.open()
            let ending = Ending(count)
            let worker = Worker(
                queue,
                connection: server,
                observer: { if case .completed = $0 { ending.note() } },
                processor: { active in
                    let added = Int64(active.job.dataText) ?? 0
                    ending.times.append(Double(MonotonicTime.now().nanoseconds - added) / 1e6)
                    return "null"
                }
            )
            await worker.start()
            await ending.wait()
            await worker.stop()
            let times = ending.times.sorted()
            report(["p50_ms": times[times.count / 2], "p99_ms": times[times.count * 99 / 100]])
        }
    }
}

@LoopActor
private final class Ending {
    var times: [Double] = []
    private var left: Int
    private var waiter: CheckedContinuation<Void, Never>?

    init(_ count: Int) { left = count }

    func note() {
        left -= 1
        if left == 0 { waiter?.resume() }
    }

    func wait() async { await withCheckedContinuation { waiter = $0 } }
}

private func usage() -> rusage {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage
}

private func cpuSeconds() -> Double {
    let usage = usage()
    let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
    return Double(seconds) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
}

private func peakMemory() -> Double { Double(usage().ru_maxrss) / 1024 }

private func report(_ figures: KeyValuePairs<String, Double>) {
    print(
        JSON.object(JSONObject(figures.map { ($0.key, .double(($0.value * 100).rounded() / 100)) }))
            .text
    )
}
