/// The rules for ids that callers choose.
public enum JobID {
    /// How many parts a scheduler's run has: `repeat:<scheduler>:<ms>`.
    private static let schedulerParts = 3

    /// What is wrong with `id`; nil when it may be used.
    ///
    /// Whole numbers are the counter's, `0` and `0:…` are markers of old versions, and a colon ends
    /// the queue's base in a job's key.
    public static func fault(in id: String) -> String? {
        if id.isEmpty { return "is empty" }
        if id == "0" || id.hasPrefix("0:") { return "is '0' or starts with '0:'" }
        if Int64(id).map({ String($0) == id }) == true { return "is a whole number" }
        let parts = id.split(separator: ":", omittingEmptySubsequences: false)
        if parts.count != 1 && parts.count != schedulerParts { return "has a colon" }
        return nil
    }

    /// The id of a scheduler's run at `time` (ms since 1970).
    public static func run(of scheduler: String, at time: Int64) -> String {
        "repeat:\(scheduler):\(time)"
    }
}
