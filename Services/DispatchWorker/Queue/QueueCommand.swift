public import ArgumentParser
internal import EventLoop
internal import JSON
public import JobQueue
internal import RedisClient

/// `dispatch-worker queue`: looks into queues of BullMQ's layout, and works on them.
struct QueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue",
        abstract: "Looks into queues of BullMQ's layout, and works on them.",
        subcommands: [
            QueueAdd.self, QueueWork.self, QueueCounts.self, QueueList.self, QueueShow.self,
            QueueState.self, QueueRetry.self, QueuePromote.self, QueueRemove.self,
            QueuePause.self, QueueResume.self, QueueClean.self, QueueDrain.self,
            QueueObliterate.self, QueueEventsCommand.self, QueueSchedulers.self, QueueStep.self,
        ]
    )
}

/// What every subcommand takes.
struct QueueOptions: ParsableArguments {
    @Option(help: "The server; without it REDIS_QUEUE_URL, REDIS_URL or REDIS_HOST.")
    var redisUrl: String?

    @Option(help: "What the queue's keys begin with.")
    var prefix = QueueKeys.defaultPrefix

    @Option(name: .shortAndLong, help: "The queue's name.")
    var queue: String

    @Flag(help: "Answer in JSON, not in words and tables.")
    var json = false

    @Flag(help: "Clients of BullMQ 5 share the queue: keep its paused jobs where they look.")
    var pausedList = false

    /// The server to use.
    func connection() throws -> RedisConfiguration {
        if let redisUrl {
            return try RedisConfiguration(url: redisUrl, variable: "--redis-url")
        }
        return try RedisConfiguration(
            environment: QueueEnvironment.variables(),
            serviceDefault: .required,
            purpose: .queue
        )
    }

    /// Runs `body` on the loop with the queue, and ends the process's loop with it.
    func withQueue(
        _ body: @escaping @LoopActor @Sendable (Queue, RedisConfiguration) async throws -> Void
    ) throws {
        let connection = try connection()
        let keys = try QueueKeys(queue: queue, prefix: prefix)
        var settings = Queue.Settings()
        settings.usesPausedList = pausedList
        try EventLoop.run { [settings] in
            let redis = RedisClient(connection)
            try await redis.start()
            try await body(Queue(keys, redis: redis, settings: settings), connection)
            await redis.stop()
        }
    }

    /// Prints the value as JSON, or the words.
    func answer(_ value: JSON, _ words: @autoclosure () -> String) {
        print(json ? value.text : words())
    }
}

/// Asked before jobs are deleted.
struct Confirmation: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    /// Asks on standard input unless `--yes` was given.
    func obtain(_ question: String) throws {
        guard !yes else { return }
        print("\(question) [y/N] ", terminator: "")
        guard readLine()?.lowercased() == "y" else {
            throw ValidationError("nothing was done; say --yes to mean it")
        }
    }
}

extension JobState: ExpressibleByArgument {}
