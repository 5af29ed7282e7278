public import EventLoop
public import JSON

/// A job in the hands of its processor.
@LoopActor
public final class ActiveJob {
    /// The job as it was when it was taken.
    public let job: Job
    /// What the lock on it holds.
    public let token: String
    /// The queue that it is in.
    public let queue: Queue
    /// Whether somebody else has it by now: what is done from here on will not count.
    public internal(set) var isLost = false

    init(job: Job, token: String, queue: Queue) {
        self.job = job
        self.token = token
        self.queue = queue
    }

    /// Tells how far the job got.
    public func report(_ progress: JSON) async throws(JobQueueError) {
        try await queue.setProgress(of: job.id, to: progress)
    }

    /// Adds a line to the job's log; the oldest go when the job keeps only so many.
    ///
    /// - Returns: how many lines there are.
    @discardableResult
    public func log(_ line: String) async throws(JobQueueError) -> Int {
        try await queue.log(line, of: job.id, keeping: job.options?.keepLogs)
    }
}

/// What does a job: it returns the result as JSON text, or throws why it failed.
///
/// ``UnrecoverableError`` says that another attempt is of no use; ``JobInterruption`` ends this run
/// without a result.
public typealias Processor = @LoopActor @Sendable (ActiveJob) async throws -> String

/// A failure that another attempt will not mend.
public struct UnrecoverableError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Why.
    public let description: String

    /// A failure for the reason `description`.
    public init(_ description: String) { self.description = description }
}

/// Why a run ends without result or failure.
public enum JobInterruption: Error, Sendable, Hashable {
    /// The job goes on after so many ms; its next run is the same attempt.
    case delay(milliseconds: Int64)
    /// A limit was met elsewhere: the worker takes no jobs for so many ms, and this one goes back to
    /// the front. Needs a limit on the worker or the queue.
    case rateLimited(milliseconds: Int64)
    /// The job waits for children that it has added.
    case waitingForChildren
}
