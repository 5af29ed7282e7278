public import FoundationEssentials
internal import FoundationInternationalization

extension TimeZone {
    /// The zone with this IANA name, such as `Europe/Berlin`; nil when there is none.
    ///
    /// The way to a named zone: `TimeZone(identifier:)` alone knows none in a static build.
    public static func iana(_ name: String) -> TimeZone? {
        _ = isLinked
        return TimeZone(identifier: name)
    }

    /// Brings the zones into the program.
    ///
    /// FoundationEssentials finds them through a hook of FoundationInternationalization, and a static
    /// link leaves out what nobody calls: this call lives in the same object file as the hook.
    private static let isLinked = 0.5.formatted().isEmpty
}
