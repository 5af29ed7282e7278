internal import ArgumentParser
internal import JSON
internal import JobQueue

/// `queue retry`.
struct QueueRetry: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry",
        abstract: "Lets a finished job run again, or all failed ones."
    )

    @OptionGroup var options: QueueOptions

    @Argument(help: "The job's id.")
    var id: String?

    @Flag(help: "All failed jobs.")
    var all = false

    @Flag(help: "Count attempts anew.")
    var fresh = false

    func validate() throws {
        guard (id == nil) == all else { throw ValidationError("name a job, or say --all") }
    }

    func run() throws {
        try options.withQueue { [self] queue, _ in
            var count = 1
            if let id {
                try await queue.retry(id, isFresh: fresh)
            } else {
                count = try await queue.retryAll { QueueProgress.show($0, "set to run again") }
            }
            options.answer(["retried": JSON(count)], "\(count) set to run again")
        }
    }
}

/// `queue promote`.
struct QueuePromote: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote",
        abstract: "Lets a delayed job run now, or all of them."
    )

    @OptionGroup var options: QueueOptions

    @Argument(help: "The job's id.")
    var id: String?

    @Flag(help: "All delayed jobs.")
    var all = false

    func validate() throws {
        guard (id == nil) == all else { throw ValidationError("name a job, or say --all") }
    }

    func run() throws {
        try options.withQueue { [self] queue, _ in
            var count = 1
            if let id {
                try await queue.promote(id)
            } else {
                count = try await queue.promoteAll { QueueProgress.show($0, "promoted") }
            }
            options.answer(["promoted": JSON(count)], "\(count) promoted")
        }
    }
}

/// `queue cancel`.
struct QueueCancel: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract:
            "Cancels a job wherever it is: cancelled, requested (a worker has it) or too_late."
    )

    @OptionGroup var options: QueueOptions

    @Argument(help: "The job's id.")
    var id: String

    @Option(help: "Why; stands in the job's failure.")
    var reason = ""

    func run() throws {
        try options.withQueue { [self] queue, _ in
            let outcome = try await queue.cancel(id, reason: reason)
            options.answer(["outcome": .string(outcome.rawValue)], outcome.rawValue)
        }
    }
}
