/// How a worker works; the defaults are those of its peers.
public struct WorkerConfiguration: Sendable {
    /// How many jobs at most are begun in a time.
    public struct Limit: Sendable, Hashable {
        /// How many jobs.
        public let count: Int
        /// The window, in milliseconds; it opens with its first job.
        public let window: Int64

        /// `count` jobs in `window` milliseconds.
        public init(count: Int, window: Int64) {
            self.count = count
            self.window = window
        }
    }

    /// How many jobs run at once.
    public var concurrency = 1
    /// For how long a job is held without a sign of life; renewed at a quarter of it.
    public var lock: Duration = .seconds(30)
    /// How often lost jobs are looked for.
    public var stalledInterval: Duration = .seconds(30)
    /// How often a job may be lost before it fails.
    public var stalledMax = 1
    /// After how long an idle worker looks for jobs although nobody woke it.
    public var drainDelay: Duration = .seconds(5)
    /// How many jobs are begun in a time; a limit of the queue's settings comes before it.
    public var limit: Limit?
    /// How long jobs of each priority may wait before they overtake; nil to serve strictly by
    /// priority, as peers do, where a job may wait for ever.
    public var targets: PriorityTargets?
    /// What others see as the worker of a job; nil for nothing.
    public var name: String?
    /// What stays of completed jobs that do not say.
    public var removeOnComplete = KeepPolicy.all
    /// What stays of failed jobs that do not say.
    public var removeOnFail = KeepPolicy.all
    /// How many minutes of metrics the queue keeps; 0 for none.
    public var metricsMinutes = 0
    /// How often a job may be started at all; nil for any number.
    public var startsMax: Int?
    /// Waits in ms for back-off types that are not built in, by type and number of failures.
    public var backoffStrategy: @Sendable (String, Int) -> Int64? = { _, _ in nil }

    /// The longest time that an idle worker waits in one go for a job that is not due yet.
    static let blockMax: Duration = .seconds(10)
    /// The longest wait for a limit's window before the worker looks again.
    static let limitedMax: Duration = .seconds(30)

    /// The defaults.
    public init() {}
}
