internal import ArgumentParser
internal import EventLoop
internal import JSON
internal import JobQueue
internal import Telemetry

/// `queue counts`.
struct QueueCounts: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "counts",
        abstract: "How many jobs are in each state."
    )

    @OptionGroup var options: QueueOptions

    func run() throws {
        try options.withQueue { [options] queue, _ in
            let counts = try await queue.counts()
            let pause = try await queue.pauseNow()
            let oldest = try await queue.oldestReady()
            let states = JobState.allCases.filter { $0 != .unknown }
            var object = JSONObject(states.map { ($0.rawValue, JSON(counts[$0] ?? 0)) })
            object["isPaused"] = .bool(pause != nil)
            object["pause"] = pause?.json ?? .null
            object["oldestReady"] = oldest.map { .int($0) } ?? .null
            options.answer(
                .object(object),
                Table.lines(
                    ["state", "jobs"],
                    states.map { [$0.rawValue, "\(counts[$0] ?? 0)"] }
                        + [["paused", pause?.words(now: WallClock.milliseconds()) ?? "no"]]
                )
            )
        }
    }
}

/// `queue list`.
struct QueueList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "The jobs of one state: finished ones newest first, others oldest first."
    )

    @OptionGroup var options: QueueOptions

    @Argument(help: "waiting, active, delayed, prioritized, completed, failed, waiting-children")
    var state: JobState

    @Option(help: "How many to leave out.")
    var from = 0

    @Option(help: "How many at most.")
    var count = 50

    func run() throws {
        try options.withQueue { [self] queue, _ in
            let jobs = try await queue.jobs(state, from: from, count: count)
            options.answer(
                .array(jobs.map { $0.json() }),
                Table.lines(
                    ["id", "name", "attempts", "priority", "data"],
                    jobs.map {
                        [$0.id, $0.name, "\($0.attemptsMade)", "\($0.priority)", $0.dataText]
                    }
                )
            )
        }
    }
}

/// `queue show`.
struct QueueShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "All that is known of one job, its log included."
    )

    @OptionGroup var options: QueueOptions

    @Argument(help: "The job's id.")
    var id: String

    func run() throws {
        try options.withQueue { [self] queue, _ in
            guard let job = try await queue.job(id) else {
                throw JobQueueError(.jobMissing, "there is no job \(id)")
            }
            var object = job.json(state: try await queue.state(of: id)).objectValue ?? [:]
            object["logs"] = JSON(try await queue.logs(of: id))
            options.answer(
                .object(object),
                Table.lines(
                    ["field", "value"],
                    object.members.map { [$0.key, $0.value.stringValue ?? $0.value.text] }
                )
            )
        }
    }
}

/// `queue state`.
struct QueueState: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "state",
        abstract: "Where a job is."
    )

    @OptionGroup var options: QueueOptions

    @Argument(help: "The job's id.")
    var id: String

    func run() throws {
        try options.withQueue { [self] queue, _ in
            let state = try await queue.state(of: id)
            options.answer(.string(state.rawValue), state.rawValue)
        }
    }
}

/// `queue events`.
struct QueueEventsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "What happens in the queue, one line each, until it is interrupted."
    )

    @OptionGroup var options: QueueOptions

    @Option(help: "Begin after this entry; 0 for all that are kept.")
    var after = "$"

    @Option(help: "End after so many events; 0 for never.")
    var count = 0

    func run() throws {
        try options.withQueue { [self] queue, connection in
            let events = QueueEvents(queue.keys, connection: connection, after: after)
            try await events.start()
            var seen = 0
            while count == 0 || seen < count {
                for event in try await events.next() where count == 0 || seen < count {
                    seen += 1
                    QueueOutput.line(options.json ? event.json.text : event.words)
                }
            }
            await events.stop()
        }
    }
}

extension QueueEvent {
    fileprivate var json: JSON {
        var object: JSONObject = ["id": .string(id), "event": .string(name)]
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) { object[key] = .string(value) }
        return .object(object)
    }

    fileprivate var words: String {
        let rest = fields.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        return ([id, name] + rest).joined(separator: "  ")
    }
}
