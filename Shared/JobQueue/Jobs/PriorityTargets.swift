/// How long jobs of each priority may wait: the next one is whose time of making and target together
/// come first, so that what waits long overtakes and nothing waits for ever.
public struct PriorityTargets: Sendable, Hashable {
    /// The target in ms of each priority, from 0 (none was given) on; the last one is for all others.
    public let milliseconds: [Int64]

    /// The most targets; a worker looks at one job of each.
    public static let countMax = 16

    /// Targets for the priorities 0, 1, 2 …; 1 to 16 of them, in ms from 0 on.
    ///
    /// - Throws: ``JobQueueError/Code/invalid`` for others.
    public init(milliseconds: [Int64]) throws(JobQueueError) {
        guard (1...PriorityTargets.countMax).contains(milliseconds.count),
            milliseconds.allSatisfy({ $0 >= 0 })
        else {
            throw JobQueueError(.invalid, "1 to \(PriorityTargets.countMax) targets from 0 ms on")
        }
        self.milliseconds = milliseconds
    }

    private init(minutes: [Int64]) { milliseconds = minutes.map { $0 * 60_000 } }

    /// At once for priority 1, then 2, 10, 30 and 120 minutes; who gives none has the third, the
    /// normal one.
    public static let standard = PriorityTargets(minutes: [10, 0, 2, 10, 30, 120])

    var text: String { milliseconds.map { "\($0)" }.joined(separator: ",") }
}
