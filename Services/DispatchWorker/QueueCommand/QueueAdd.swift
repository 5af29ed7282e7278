internal import ArgumentParser
internal import EventLoop
internal import JSON
internal import JobQueue
internal import RedisClient

/// `queue add`.
struct QueueAdd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Adds a job, or many."
    )

    @OptionGroup var options: QueueOptions

    @Argument(help: "What kind of work it is.")
    var name: String

    @Argument(help: "The data: JSON text.")
    var data = "{}"

    @Option(help: "Options as BullMQ stores them: JSON text with short names.")
    var opts = "{}"

    @Option(help: "Wait so many milliseconds first.")
    var delay: Int64?

    @Option(help: "1 is first, 0 before all others.")
    var priority: Int?

    @Option(help: "How often it is tried at most.")
    var attempts: Int?

    @Option(help: "Wait between attempts, such as fixed:100 or exponential:200.")
    var backoff: String?

    @Option(help: "The job's id.")
    var id: String?

    @Option(help: "A deduplication id.")
    var deduplicate: String?

    @Flag(help: "Serve it before those that wait already.")
    var lifo = false

    @Option(help: "How many; {i} in the data becomes the number of each.")
    var count = 1

    @Option(help: "Refuse what comes when so many jobs wait in the queue; 0 for never.")
    var queuedMax = 0

    @Flag(help: "Tell workers that serve all queues (work --all) at once; they look only at times.")
    var ring = false

    func run() throws {
        guard (try? JSON(parsing: Array(data.utf8), limits: .foreign)) != nil || count > 1 else {
            throw ValidationError("the data is not JSON: \(data)")
        }
        let jobOptions = try jobOptions()
        let keys = try options.keys()
        try options.withRedis(for: keys.base) { [self] redis, _ in
            let queue = Queue(keys, redis: redis, settings: options.settings)
            let jobs = (0..<max(1, count)).map { number in
                NewJob(name, data: filled(number), options: jobOptions)
            }
            let ids = try await queue.add(contentsOf: jobs, waitingMax: queuedMax)
            if ring { try await tellFairWorkers(redis, delay: jobOptions.delay) }
            options.answer(JSON(ids), ids.joined(separator: "\n"))
        }
    }

    /// Rings for those that serve all queues of the prefix and, of a tenant, all queues of the name.
    @LoopActor
    private func tellFairWorkers(_ redis: RedisClient, delay: Int64) async throws {
        let (prefix, name) = (options.prefix, options.queue ?? "")
        try await TenantQueues(of: prefix, redis: redis).ring(options.title, delay: delay)
        guard let tenant = options.tenant else { return }
        try await TenantQueues(name, prefix: prefix, redis: redis).ring(tenant, delay: delay)
    }

    private func filled(_ number: Int) -> String {
        guard count > 1, let place = data.firstRange(of: "{i}") else { return data }
        return data.replacingCharacters(in: place, with: "\(number)")
    }

    private func jobOptions() throws -> JobOptions {
        guard var result = JobOptions(text: Array(opts.utf8)) else {
            throw ValidationError("the options are not a JSON object: \(opts)")
        }
        if let delay { result.delay = delay }
        if let priority { result.priority = priority }
        if let attempts { result.attempts = attempts }
        if let id { result.id = id }
        if lifo { result.isLIFO = true }
        if let deduplicate { result.deduplication = Deduplication(id: deduplicate) }
        guard let backoff else { return result }
        let parts = backoff.split(separator: ":")
        guard parts.count == 2, let wait = Int64(parts[1]) else {
            throw ValidationError("write the back-off as fixed:100 or exponential:200")
        }
        result.backoff = JobQueue.Backoff(type: String(parts[0]), delay: wait)
        return result
    }
}

extension String {
    fileprivate func replacingCharacters(in range: Range<Index>, with text: String) -> String {
        var copy = self
        copy.replaceSubrange(range, with: text)
        return copy
    }
}
