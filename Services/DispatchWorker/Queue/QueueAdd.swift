internal import ArgumentParser
internal import JSON
internal import JobQueue

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

    func run() throws {
        guard (try? JSON(parsing: Array(data.utf8), limits: .foreign)) != nil || count > 1 else {
            throw ValidationError("the data is not JSON: \(data)")
        }
        let jobOptions = try jobOptions()
        try options.withQueue { [self] queue, _ in
            let jobs = (0..<max(1, count)).map { number in
                NewJob(name, data: filled(number), options: jobOptions)
            }
            let ids = try await queue.add(contentsOf: jobs)
            options.answer(JSON(ids), ids.joined(separator: "\n"))
        }
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
