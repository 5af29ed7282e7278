internal import ArgumentParser
internal import EventLoop
internal import JSON
internal import JobQueue
internal import RedisClient

/// `queue pause`.
struct QueuePauseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Lets no worker begin a job; jobs may still be added."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var scope: PauseScope

    @Option(help: "Why.")
    var reason: String?

    @Option(help: "Who does it.")
    var by: String?

    @Option(help: "End it by itself after so many milliseconds; a worker of ours must be running.")
    var forMs: Int64?

    func validate() throws {
        if let forMs, forMs < 1 { throw ValidationError("--for-ms is from 1 on") }
    }

    func run() throws {
        try scope.forEach(options) { [self] queue in
            let until = forMs.map { WallClock.milliseconds() + $0 }
            try await queue.pause(QueuePause(reason: reason, author: by, until: until))
        } answer: { [options] names in
            options.answer(
                ["isPaused": true, "queues": JSON(names)],
                names.map { "paused \($0)" }.joined(separator: "\n")
            )
        }
    }
}

/// `queue resume`.
struct QueueResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Lets workers go on; jobs in an older client's list of paused ones come first."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var scope: PauseScope

    func run() throws {
        try scope.forEach(options) { queue in
            try await queue.resume()
        } answer: { [options] names in
            options.answer(
                ["isPaused": false, "queues": JSON(names)],
                names.map { "resumed \($0)" }.joined(separator: "\n")
            )
        }
    }
}

/// One queue, or all.
struct PauseScope: ParsableArguments {
    @Flag(help: "All queues of the prefix or, with --queue, those of all tenants.")
    var all = false

    func forEach(
        _ options: QueueOptions,
        _ body: @escaping @LoopActor @Sendable (Queue) async throws -> Void,
        answer: @escaping @LoopActor @Sendable ([String]) -> Void
    ) throws {
        guard all else {
            try options.withQueue { queue, _ in
                try await body(queue)
                answer([queue.keys.path])
            }
            return
        }
        let (prefix, name, settings) = (options.prefix, options.queue, options.settings)
        try options.withRedis(for: prefix) { redis, _ in
            let queues =
                if let name {
                    TenantQueues(name, prefix: prefix, redis: redis, settings: settings)
                } else {
                    TenantQueues(of: prefix, redis: redis, settings: settings)
                }
            var names: [String] = []
            for tenant in try await queues.find().sorted() {
                let queue = try queues.queue(of: tenant)
                try await body(queue)
                names.append(queue.keys.path)
            }
            answer(names)
        }
    }
}

extension QueuePause {
    /// What is known of it.
    var json: JSON {
        [
            "reason": JSON(reason), "by": JSON(author), "until": JSON(until), "since": JSON(since),
        ]
    }

    /// The same in words, on one line.
    func words(now: Int64) -> String {
        var words = "yes"
        if let author { words += ", by \(author)" }
        if let reason { words += ": \(reason)" }
        if let until { words += ", for \(max(0, until - now) / 1000) s more" }
        return words
    }
}
