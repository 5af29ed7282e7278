public import ArgumentParser
internal import EventLoop
internal import JSON
public import JobQueue
internal import Platform
internal import RedisClient

/// `dispatch-worker queue`: looks into queues of BullMQ's layout, and works on them.
struct QueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue",
        abstract: "Looks into queues of BullMQ's layout, and works on them.",
        subcommands: [
            QueueAdd.self, QueueWork.self, QueueCounts.self, QueueList.self, QueueShow.self,
            QueueState.self, QueueRetry.self, QueuePromote.self, QueueRemove.self,
            QueuePauseCommand.self, QueueResumeCommand.self, QueueCancel.self, QueueClean.self,
            QueueDrain.self,
            QueueObliterate.self, QueueEventsCommand.self, QueueSchedulers.self, QueueStep.self,
        ]
    )
}

/// What every subcommand takes.
struct QueueOptions: ParsableArguments {
    @Option(
        help: """
            The server; without it REDIS_QUEUE_URL, REDIS_URL or REDIS_HOST. \
            redis+sentinel://host,host/primary asks sentinels for it; redis+cluster://host,host \
            finds the node of the queue, whose prefix or name then needs a {tag}.
            """
    )
    var redisUrl: String?

    @Option(help: "What the queue's keys begin with.")
    var prefix = QueueKeys.defaultPrefix

    @Option(name: .shortAndLong, help: "The queue's name.")
    var queue: String?

    @Option(help: "The queue of this tenant: its keys begin with prefix:{tenant}.")
    var tenant: String?

    @Flag(help: "Answer in JSON, not in words and tables.")
    var json = false

    @Flag(help: "Clients of BullMQ 5 share the queue: keep its paused jobs where they look.")
    var pausedList = false

    /// The server to use.
    func connection() throws -> RedisConfiguration {
        if let redisUrl {
            return try RedisConfiguration(
                url: redisUrl,
                variable: "--redis-url",
                files: RedisTLS.Files(environment: QueueEnvironment.variables())
            )
        }
        return try RedisConfiguration(
            environment: QueueEnvironment.variables(),
            serviceDefault: .required,
            purpose: .queue
        )
    }

    /// The queue's keys.
    func keys() throws -> QueueKeys {
        guard let queue else { throw ValidationError("name the queue: --queue NAME") }
        guard let tenant else { return try QueueKeys(queue: queue, prefix: prefix) }
        guard !tenant.contains(where: { "{}".contains($0) }), !tenant.isEmpty else {
            throw ValidationError("'\(tenant)' is no tenant: it is empty or has a brace")
        }
        return try QueueKeys(queue: queue, prefix: "\(prefix):{\(tenant)}")
    }

    /// The queue as messages name it.
    var title: String {
        [tenant.map { "{\($0)}" }, queue].compactMap { $0 }.joined(separator: ":")
    }

    /// How the queue is used.
    var settings: Queue.Settings {
        var settings = Queue.Settings()
        settings.usesPausedList = pausedList
        return settings
    }

    /// Runs `body` on the loop with the queue, and ends the process's loop with it.
    func withQueue(
        _ body: @escaping @LoopActor @Sendable (Queue, RedisConfiguration) async throws -> Void
    ) throws {
        let keys = try keys()
        let settings = settings
        try withRedis(for: keys.base) { redis, connection in
            try await body(Queue(keys, redis: redis, settings: settings), connection)
        }
    }

    /// Runs `body` with a client of the server that has `key`.
    func withRedis(
        for key: String,
        _ body:
            @escaping @LoopActor @Sendable (RedisClient, RedisConfiguration) async throws -> Void
    ) throws {
        let connection = try connection()
        if connection.isCluster, RedisKeySlot.tag(of: key) == nil {
            throw ValidationError("on a cluster the prefix or the queue's name needs a {tag}")
        }
        try EventLoop.run {
            let redis = RedisClients.make(connection.serving(key))
            try await redis.start()
            try await body(redis, connection)
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
