/// Which traces are recorded, by the rules of OpenTelemetry (`OTEL_TRACES_SAMPLER`).
public struct TraceSampler: Sendable, Hashable {
    /// Whether a caller that says that it records, or does not, is followed.
    private let followsCaller: Bool
    /// Traces whose id is below it are recorded: a share of 2^56, as in the id's last seven bytes.
    private let bound: UInt64

    /// Records what a caller records, and nothing else.
    public static let whenAsked = TraceSampler(followsCaller: true, share: 0)

    /// - Parameter share: of the traces that are not decided by a caller, from 0 to 1.
    public init(followsCaller: Bool, share: Double) {
        self.followsCaller = followsCaller
        bound = UInt64(min(max(share, 0), 1) * Double(1 << 56))
    }

    /// Reads the names that OpenTelemetry gives samplers; nil for another one.
    ///
    /// - Parameter share: what the two with a ratio record.
    public init?(name: String, share: Double) {
        let parentBased = "parentbased_"
        let own = name.hasPrefix(parentBased) ? String(name.dropFirst(parentBased.count)) : name
        switch own {
        case "always_on": self.init(followsCaller: own != name, share: 1)
        case "always_off": self.init(followsCaller: own != name, share: 0)
        case "traceidratio": self.init(followsCaller: own != name, share: share)
        default: return nil
        }
    }

    /// The same place with the decision whether it is recorded.
    func decide(_ place: TraceParent) -> TraceParent {
        if followsCaller, place.parent != 0 { return place }
        var place = place
        place.isRecorded = place.traceLow & (1 << 56 - 1) < bound
        return place
    }
}
