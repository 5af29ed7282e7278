internal import ArgumentParser
internal import JSON
internal import JobQueue

/// `queue remove`.
struct QueueRemove: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Deletes a job and its children."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var confirmation: Confirmation

    @Argument(help: "The job's id.")
    var id: String

    @Flag(help: "Leave its children.")
    var keepChildren = false

    func run() throws {
        try confirmation.obtain("Delete job \(id) of \(options.title)?")
        try options.withQueue { [self] queue, _ in
            guard try await queue.remove(id, withChildren: !keepChildren) else {
                throw JobQueueError(.lockTaken, "job \(id), or a child of it, is being worked on")
            }
            options.answer(["removed": .string(id)], "removed \(id)")
        }
    }
}

/// `queue clean`.
struct QueueClean: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clean",
        abstract: "Deletes the old jobs of one state."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var confirmation: Confirmation

    @Argument(help: "completed, failed, waiting, active, delayed or prioritized")
    var state: JobState

    @Option(help: "Only those older than so many milliseconds.")
    var grace: Int64 = 0

    @Option(help: "How many at most; 0 for all.")
    var count = 0

    func run() throws {
        try confirmation.obtain("Delete \(state.rawValue) jobs of \(options.title)?")
        try options.withQueue { [self] queue, _ in
            let ids = try await queue.clean(state, grace: grace, count: count) {
                QueueProgress.show($0, "deleted")
            }
            options.answer(JSON(ids), "\(ids.count) deleted")
        }
    }
}

/// `queue drain`.
struct QueueDrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Deletes all jobs that wait to run."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var confirmation: Confirmation

    @Flag(help: "The delayed ones too.")
    var delayed = false

    func run() throws {
        try confirmation.obtain("Delete all waiting jobs of \(options.title)?")
        try options.withQueue { [self] queue, _ in
            let count = try await queue.drain(delayed: delayed) {
                QueueProgress.show($0, "deleted")
            }
            options.answer(["deleted": JSON(count)], "\(count) deleted")
        }
    }
}

/// `queue obliterate`.
struct QueueObliterate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "obliterate",
        abstract: "Deletes the queue and everything in it."
    )

    @OptionGroup var options: QueueOptions
    @OptionGroup var confirmation: Confirmation

    @Flag(help: "Even if jobs are active.")
    var force = false

    func run() throws {
        try confirmation.obtain("Delete the queue \(options.title) with everything in it?")
        try options.withQueue { [self] queue, _ in
            let count = try await queue.obliterate(isForced: force) {
                QueueProgress.show($0, "deleted")
            }
            options.answer(["deleted": JSON(count)], "\(count) deleted; the queue is gone")
        }
    }
}
