internal import ArgumentParser
internal import JSON
internal import JobQueue

/// `queue schedulers`.
struct QueueSchedulers: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedulers",
        abstract: "What makes jobs again and again.",
        subcommands: [SchedulerList.self, SchedulerSet.self, SchedulerRemove.self],
        defaultSubcommand: SchedulerList.self
    )
}

/// `queue schedulers list`.
struct SchedulerList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "All schedulers, the next to run first."
    )

    @OptionGroup var options: QueueOptions

    func run() throws {
        try options.withQueue { [options] queue, _ in
            let schedulers = try await queue.schedulers(count: Int(Int32.max))
            options.answer(
                .array(schedulers.map(\.json)),
                Table.lines(
                    ["id", "name", "timing", "planned", "next"],
                    schedulers.map {
                        [
                            $0.id, $0.name, $0.timing.words, "\($0.iterations)",
                            $0.next.map { RFC3339.string($0) } ?? "",
                        ]
                    }
                )
            )
        }
    }
}

/// `queue schedulers set`.
struct SchedulerSet: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Makes a scheduler, or replaces it."
    )

    @OptionGroup var options: QueueOptions

    @Argument(help: "The scheduler's id.")
    var id: String

    @Argument(help: "What its jobs are called.")
    var name: String

    @Argument(help: "Their data: JSON text.")
    var data = "{}"

    @Option(help: "Run every so many milliseconds …")
    var every: Int64?

    @Option(help: "… shifted by so many.")
    var offset: Int64?

    @Option(help: "Run by this cron pattern, of five fields or six …")
    var pattern: String?

    @Option(help: "… in this time zone, such as Europe/Berlin; without it UTC.")
    var zone: String?

    @Option(help: "At most so many runs.")
    var limit: Int?

    func validate() throws {
        guard (every == nil) != (pattern == nil) else {
            throw ValidationError("say either --every or --pattern")
        }
    }

    func run() throws {
        let timing: JobScheduler.Timing =
            if let every {
                .every(every, offset: offset)
            } else {
                .pattern(pattern ?? "", zone: zone)
            }
        var scheduler = JobScheduler(id: id, timing, name: name, data: data)
        scheduler.limit = limit
        try options.withQueue { [options, scheduler] queue, _ in
            let run = try await queue.upsert(scheduler)
            options.answer(["run": JSON(run)], run.map { "planned \($0)" } ?? "no run is left")
        }
    }
}

/// `queue schedulers remove`.
struct SchedulerRemove: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Removes a scheduler and its planned run."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var confirmation: Confirmation

    @Argument(help: "The scheduler's id.")
    var id: String

    func run() throws {
        try confirmation.obtain("Delete the scheduler \(id) of \(options.title)?")
        try options.withQueue { [self] queue, _ in
            guard try await queue.removeScheduler(id) else {
                throw JobQueueError(.jobMissing, "there is no scheduler \(id)")
            }
            options.answer(["removed": .string(id)], "removed \(id)")
        }
    }
}

extension JobScheduler.Timing {
    fileprivate var words: String {
        switch self {
        case .every(let every, let offset): "every \(every) ms" + (offset.map { " + \($0)" } ?? "")
        case .pattern(let pattern, let zone): "\(pattern) \(zone ?? "UTC")"
        }
    }
}

extension JobScheduler {
    fileprivate var json: JSON {
        var object: JSONObject = [
            "id": .string(id), "name": .string(name), "iterations": .int(Int64(iterations)),
            "data": (try? JSON(parsing: Array(data.utf8), limits: .foreign)) ?? .string(data),
        ]
        switch timing {
        case .every(let every, let offset):
            object["every"] = .int(every)
            object["offset"] = offset.map { .int($0) }
        case .pattern(let pattern, let zone):
            object["pattern"] = .string(pattern)
            object["tz"] = zone.map { .string($0) }
        }
        object["limit"] = limit.map { .int(Int64($0)) }
        object["next"] = next.map { .int($0) }
        return .object(object)
    }
}
