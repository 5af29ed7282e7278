/// Where a job is.
public enum JobState: String, Sendable, Hashable, CaseIterable {
    /// Ready to run.
    case waiting
    /// Being run.
    case active
    /// Waiting for its time.
    case delayed
    /// Ready to run, after all jobs without a priority.
    case prioritized
    /// Done.
    case completed
    /// Failed for good.
    case failed
    /// Waiting for its children.
    case waitingChildren = "waiting-children"
    /// Nowhere.
    case unknown

    /// The ending of the key that holds the ids; nil for ``unknown``.
    var key: String? {
        switch self {
        case .waiting: "wait"
        case .unknown: nil
        case .active, .delayed, .prioritized, .completed, .failed, .waitingChildren: rawValue
        }
    }

    /// Whether the ids lie in a list, newest first, and not in a sorted set.
    var isList: Bool { self == .waiting || self == .active }
    /// Whether the newest are shown first.
    var isNewestFirst: Bool { self == .completed || self == .failed }

    /// The states that a job can be in.
    static let all = JobState.allCases.filter { $0 != .unknown }
}
