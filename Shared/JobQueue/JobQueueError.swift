public import RedisClient

/// Why an operation on a queue did not do what was asked.
public struct JobQueueError: Error, Sendable, Hashable {
    /// The kinds that callers tell apart.
    public enum Code: Sendable, Hashable {
        /// What was given cannot be stored; nothing was sent.
        case invalid
        /// Redis is away or cannot serve; ``JobQueueError/redis`` has the details.
        case redis
        /// The job is not there (-1).
        case jobMissing
        /// Nobody holds the job's lock any more (-2).
        case lockMissing
        /// The job is not in the state that the operation needs (-3).
        case wrongState
        /// Children of the job are still open (-4).
        case childrenOpen
        /// The parent is not there (-5).
        case parentMissing
        /// Somebody else holds the job's lock (-6).
        case lockTaken
        /// The job has another parent already (-7).
        case otherParent
        /// The job is a scheduler's pending run, which goes with its scheduler (-8).
        case schedulerRun
        /// A child failed whose failure fails the parent (-9).
        case childFailed
        /// The scheduler's next run has an id that is taken (-10, -11).
        case slotTaken
        /// As many jobs wait in the queue as may (-20).
        case backlogFull
        /// The queue must be paused first, or has active jobs (obliterate).
        case notQuiet
        /// The server answered with something unexpected.
        case oddAnswer
    }

    /// The kind.
    public let code: Code
    /// What went wrong, in words.
    public let message: String
    /// The client's error, where the kind is ``Code/redis``.
    public let redis: RedisError?

    /// An error of `code`.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
        redis = nil
    }

    init(_ error: RedisError) {
        code = .redis
        message = error.description
        redis = error
    }

    /// The error that a script's negative answer stands for.
    init(answer: Int64, job: String) {
        let (code, words) = JobQueueError.meaning(of: answer)
        self.init(code, "job \(job): \(words)")
    }

    private static func meaning(of answer: Int64) -> (Code, String) {
        switch answer {
        case -1: (.jobMissing, "it is not there")
        case -2: (.lockMissing, "its lock is gone")
        case -3: (.wrongState, "it is not in the state that this needs")
        case -4: (.childrenOpen, "it has open children")
        case -5: (.parentMissing, "its parent is not there")
        case -6: (.lockTaken, "another worker holds its lock")
        case -7: (.otherParent, "it belongs to another parent")
        case -8: (.schedulerRun, "it is the pending run of a job scheduler")
        case -9: (.childFailed, "one of its children has failed")
        case -10, -11: (.slotTaken, "the id of the scheduler's next run is taken")
        case -20: (.backlogFull, "as many jobs wait as the queue may hold")
        default: (.oddAnswer, "the script answered \(answer)")
        }
    }
}

extension JobQueueError: CustomStringConvertible {
    /// The words.
    public var description: String { message }
}
