internal import ArgumentParser
internal import JSON
internal import JobQueue
internal import RedisClient

/// `queue step`: what a worker does, one step at a time, for checks against other clients.
struct QueueStep: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "step",
        abstract: "What a worker does, one step at a time.",
        shouldDisplay: false,
        subcommands: [
            StepTake.self, StepEnd.self, StepStalled.self, StepFlow.self, StepCron.self,
        ]
    )
}

/// `queue step take`.
struct StepTake: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "take")

    @OptionGroup var options: QueueOptions
    @Option var token = "step"
    @Option var lockMs: Int64 = 30_000
    @Option var count = 1

    func run() throws {
        try options.withQueue { [self] queue, _ in
            var settings = WorkerConfiguration()
            settings.lock = .milliseconds(lockMs)
            let reply = try await queue.exchange(
                [],
                taking: count,
                as: settings,
                token: token,
                first: 0
            )
            let jobs = reply.jobs.map { token, job in
                var object = job.json(state: nil).objectValue ?? [:]
                object["token"] = .string(token)
                return JSON.object(object)
            }
            let answer: JSON = ["jobs": .array(jobs), "answer": .string("\(reply.answer)")]
            print(answer.text)
        }
    }
}

/// `queue step end`.
struct StepEnd: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "end")

    @OptionGroup var options: QueueOptions
    @Argument var id: String
    @Option var token = "step:0"
    @Option var value = "null"
    @Option var fail: String?
    @Flag var unrecoverable = false
    @Option var metrics = 0
    @Option var take = 0

    func run() throws {
        try options.withQueue { [self] queue, _ in
            let job = try await queue.job(id) ?? Job(id: id, fields: .null)
            let outcome =
                fail.map {
                    Outcome.failure(of: job, reason: $0, isFinal: unrecoverable, random: 0)
                } ?? .completed(value)
            var settings = WorkerConfiguration()
            settings.metricsMinutes = metrics
            let reply = try await queue.exchange(
                [Conclusion(job: job, token: token, outcome: outcome)],
                taking: take,
                as: settings,
                token: "step",
                first: 1
            )
            let error = reply.errors.first ?? nil
            let answer: JSON = [
                "error": JSON(error.map { "\($0.code)" }),
                "jobs": JSON(reply.jobs.map(\.job.id)), "answer": .string("\(reply.answer)"),
            ]
            print(answer.text)
        }
    }
}

/// `queue step stalled`.
struct StepStalled: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "stalled")

    @OptionGroup var options: QueueOptions
    @Option var max = 1
    @Option var intervalMs: Int64 = 50

    func run() throws {
        try options.withQueue { [self] queue, _ in
            let ids = try await queue.recoverStalled(
                interval: .milliseconds(intervalMs),
                lossesMax: max
            )
            print(JSON(ids).text)
        }
    }
}

/// `queue step flow`.
struct StepFlow: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "flow")

    @OptionGroup var options: QueueOptions
    @Argument var text: String

    func run() throws {
        let prefix = options.prefix
        let flow = try StepFlow.flow(try JSON(parsing: Array(text.utf8)), prefix)
        try options.withQueue { queue, _ in
            print(JSON(try await queue.add(flow)).text)
        }
    }

    private static func flow(_ json: JSON, _ prefix: String) throws -> Flow {
        let job = NewJob(
            json["name"]?.stringValue ?? "",
            json: json["data"] ?? [:],
            options: JobOptions(json["opts"]?.objectValue ?? [:])
        )
        return Flow(
            queue: try QueueKeys(queue: json["queue"]?.stringValue ?? "", prefix: prefix),
            job: job,
            children: try (json["children"]?.arrayValue ?? []).map { try flow($0, prefix) }
        )
    }
}

/// `queue step cron`: the next times of each pattern on standard input.
struct StepCron: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "cron")

    @OptionGroup var options: QueueOptions
    @Option var zone: String?
    @Option var after: Int64

    func run() throws {
        while let line = readLine() {
            let next = try CronClock(try CronPattern(line), zone: zone).next(after: after)
            print(JSON(next).text)
        }
    }
}
