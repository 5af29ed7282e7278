internal import ArgumentParser
internal import EventLoop
internal import Glibc
internal import JSON
internal import JobQueue
internal import RedisClient

/// `queue work`.
struct QueueWork: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "work",
        abstract: "Runs jobs with a processor for trying things out, until SIGTERM.",
        discussion: """
            Tells one line of JSON for each thing that happens.

            One process serves several queues fairly, each getting its weight in every round, \
            whatever waits elsewhere:
              work --fair mail=3,sms        the queues mail and sms of the prefix
              work -q mail --fair acme=3,z  the queues mail of the tenants acme and z
              work --all                    all queues of the prefix
              work -q mail --all            the queues mail of all tenants
            """
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var processor: TestProcessorOptions
    @OptionGroup var fairness: FairnessOptions

    @Option(help: "How many jobs run at once.")
    var concurrency = 1

    @Option(help: "For how many milliseconds a job is held without a sign of life.")
    var lockMs: Int64 = 30_000

    @Option(help: "How often to look for jobs of dead workers, in milliseconds.")
    var stalledMs: Int64 = 30_000

    @Option(help: "Look for jobs that nobody told of after so many milliseconds.")
    var drainMs: Int64 = 5000

    @Option(help: "How often a job may be lost before it fails.")
    var stalledMax = 1

    @Option(help: "At most so many jobs …")
    var limitMax: Int?

    @Option(help: "… in so many milliseconds.")
    var limitMs: Int64 = 1000

    @Flag(
        help: """
            Let what waits long overtake: at once for priority 1, then 2, 10, 30 and 120 minutes; \
            without a priority 10. Otherwise the smaller number always comes first.
            """
    )
    var ageing = false

    @Option(help: "Keep the counts of so many minutes.")
    var metrics = 0

    @Option(help: "The worker's name.")
    var name: String?

    @Option(help: "End after so many jobs have ended; 0 for never.")
    var count = 0

    @Option(help: "On SIGTERM, wait for running jobs for at most so many milliseconds.")
    var stopMs: Int64 = 25_000

    @Flag(help: "Say nothing of jobs that are done.")
    var quiet = false

    func run() throws {
        if let queues = try fairness.queues(options) {
            try options.withRedis(for: queues.prefix) { [self] redis, connection in
                let queues = queues.open(redis, options.settings)
                let ending = Ending(count: count)
                let worker = FairWorker(
                    queues,
                    connection: connection,
                    configuration: settings,
                    tenants: try fairness.finder(queues),
                    observer: observer(ending),
                    processor: processor(TestProcessor(processor))
                )
                try await serve(worker, ending)
            }
            return
        }
        try options.withQueue { [self] queue, connection in
            let ending = Ending(count: count)
            let worker = Worker(
                queue,
                connection: connection,
                configuration: settings,
                observer: observer(ending),
                processor: processor(TestProcessor(processor))
            )
            try await serve(worker, ending)
        }
    }

    private var settings: WorkerConfiguration {
        var settings = WorkerConfiguration()
        settings.concurrency = concurrency
        settings.lock = .milliseconds(lockMs)
        settings.stalledInterval = .milliseconds(stalledMs)
        settings.stalledMax = stalledMax
        settings.drainDelay = .milliseconds(drainMs)
        settings.limit = limitMax.map { .init(count: $0, window: limitMs) }
        settings.metricsMinutes = metrics
        if ageing { settings.targets = .standard }
        settings.name = name
        return settings
    }

    @LoopActor
    private func observer(_ ending: Ending) -> @LoopActor (Worker.Event) -> Void {
        { event in
            if !quiet || event.isNoteworthy { QueueOutput.line(event.json.text) }
            if event.isEnd { ending.note() }
        }
    }

    @LoopActor
    private func processor(_ processor: TestProcessor) -> Processor {
        { active in
            if !quiet {
                let line: JSON = [
                    "event": "started", "id": .string(active.job.id),
                    "queue": .string(active.queue.keys.path),
                    "attempt": .int(Int64(active.job.attemptsStarted)),
                    "at": .int(WallClock.milliseconds()),
                ]
                QueueOutput.line(line.text)
            }
            return try await processor.run(active)
        }
    }

    /// Runs the worker until it is asked to end.
    @LoopActor
    private func serve(_ worker: any Serving, _ ending: Ending) async throws {
        for signal in [SIGTERM, SIGINT] {
            try EventLoop.shared.onSignal(signal) { ending.ask() }
        }
        ending.onEnd = { [weak worker] in worker?.pause() }
        await worker.start()
        await ending.wait()
        await worker.stop(within: .milliseconds(stopMs))
    }
}

/// What the command needs of a worker of one queue or of several.
@LoopActor
private protocol Serving: AnyObject {
    func start() async
    func pause()
    func stop(within limit: Duration) async
}

extension Worker: Serving {}
extension FairWorker: Serving {}

/// When the command ends: asked to, or after its number of jobs.
@LoopActor
private final class Ending {
    private var left: Int
    private var isAsked = false
    /// Called at once, while answers are still being read.
    var onEnd: @LoopActor () -> Void = {}
    private var waiter: CheckedContinuation<Void, Never>?

    init(count: Int) { left = count == 0 ? .max : count }

    func note() {
        left -= 1
        if left <= 0 { ask() }
    }

    func ask() {
        isAsked = true
        onEnd()
        let waiting = waiter
        waiter = nil
        waiting?.resume()
    }

    func wait() async {
        if !isAsked { await withCheckedContinuation { waiter = $0 } }
    }
}

extension Worker.Event {
    var isEnd: Bool {
        switch self {
        case .completed: true
        case .failed(_, _, let decision): decision == .fail
        case .lost, .recovered, .trouble: false
        }
    }

    var isNoteworthy: Bool {
        switch self {
        case .completed, .failed: false
        case .lost, .recovered, .trouble: true
        }
    }

    var json: JSON {
        switch self {
        case .completed(let job): ["event": "completed", "id": .string(job.id)]
        case .failed(let job, let reason, let decision):
            [
                "event": "failed", "id": .string(job.id), "reason": .string(reason),
                "next": .string("\(decision)"),
            ]
        case .lost(let job, let error):
            ["event": "lost", "id": .string(job.id), "reason": .string(error.message)]
        case .recovered(let ids): ["event": "recovered", "ids": JSON(ids)]
        case .trouble(let error): ["event": "trouble", "reason": .string(error.message)]
        }
    }
}
