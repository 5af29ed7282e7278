internal import ArgumentParser
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import JobQueue
internal import Processes

/// What the processor of `queue work` does with a job.
struct TestProcessorOptions: ParsableArguments {
    @Flag(help: "Return the job's data; otherwise null is returned.")
    var echo = false

    @Option(help: "Fail the first so many attempts of each job.")
    var failTimes = 0

    @Flag(help: "Fail in a way that no further attempt mends.")
    var unrecoverable = false

    @Option(help: "Take so many milliseconds.")
    var sleepMs: Int64 = 0

    @Option(help: "Run this with sh: the data on its input, the result from its output.")
    var exec: String?

    @Option(help: "Report this progress: JSON text.")
    var progress: String?

    @Option(help: "Write this line into the job's log.")
    var log: String?
}

/// A processor for trying a queue out.
@LoopActor
struct TestProcessor {
    private let options: TestProcessorOptions

    init(_ options: TestProcessorOptions) { self.options = options }

    func run(_ active: ActiveJob) async throws -> String {
        if let text = options.progress {
            try await active.report(try JSON(parsing: Array(text.utf8)))
        }
        if let line = options.log { try await active.log(line) }
        if options.sleepMs > 0 {
            try await EventLoop.shared.sleep(for: .milliseconds(options.sleepMs))
        }
        if options.unrecoverable { throw UnrecoverableError("failed for good, as asked") }
        if active.job.attemptsMade < options.failTimes {
            throw Failure(description: "failed, as asked")
        }
        if let command = options.exec { return try await output(of: command, active.job) }
        return options.echo ? active.job.dataText : "null"
    }

    private struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// Runs a command; files stand for pipes, as a full pipe would stop both sides.
    private func output(of command: String, _ job: Job) async throws -> String {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("queue-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (input, output) = (
            folder.appendingPathComponent("in"), folder.appendingPathComponent("out")
        )
        try Data(job.data).write(to: input)
        try Data().write(to: output)
        let run = ShellCommand(
            command,
            input: input.path,
            output: output.path,
            environment: QueueEnvironment.variables()
        )
        let status = try await Offload(name: "queue.exec").run { try run.status() }
        guard status == 0 else { throw Failure(description: "the command ended with \(status)") }
        let bytes = Array(try Data(contentsOf: output))
        if (try? JSON(parsing: bytes, limits: .foreign)) != nil {
            return String(decoding: bytes, as: UTF8.self)
        }
        return JSON.string(String(decoding: bytes, as: UTF8.self)).text
    }
}
