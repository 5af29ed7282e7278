/// The arithmetic of the sorted sets (all scores are exact in a double).
public enum Score {
    /// How many jobs of one millisecond keep their order.
    public static let delayedSlots: Int64 = 4096
    /// The last due time, in ms since 1970, whose score is exact: September 2039.
    public static let dueMax: Int64 = (1 << 41) - 1
    /// The priority that is served last.
    public static let priorityMax = (1 << 21) - 1

    /// The due time, in ms, that a score of `delayed` stands for.
    public static func due(ofDelayed score: Double) -> Int64 {
        whole((score / Double(delayedSlots)).rounded(.down))
    }

    /// The due time, in ms, that a score of `marker` stands for; it may have a fraction.
    public static func due(ofMarker score: Double) -> Int64 { whole(score.rounded(.down)) }

    private static func whole(_ score: Double) -> Int64 {
        score > 0 ? Int64(exactly: score.rounded()) ?? .max : 0
    }
}
