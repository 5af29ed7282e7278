internal import CLinux

/// An instant of the monotonic clock, in nanoseconds since an arbitrary start.
///
/// Deadlines are kept in this type; it never jumps when somebody sets the wall clock.
public struct MonotonicTime: Sendable, Hashable, Comparable {
    /// Nanoseconds since the clock's start.
    public let nanoseconds: Int64

    /// An instant at `nanoseconds` since the clock's start.
    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// Reads the clock (CLOCK_MONOTONIC).
    public static func now() -> MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// An instant that never comes.
    public static let distantFuture = MonotonicTime(nanoseconds: .max)

    /// Orders instants by time.
    public static func < (left: MonotonicTime, right: MonotonicTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// The instant `duration` later; saturates at ``distantFuture``.
    public static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
        let (sum, overflow) = time.nanoseconds.addingReportingOverflow(duration.nanoseconds)
        return overflow ? .distantFuture : MonotonicTime(nanoseconds: sum)
    }

    /// The time from `earlier` to `later`; negative when they are the other way round.
    public static func - (later: MonotonicTime, earlier: MonotonicTime) -> Duration {
        .nanoseconds(later.nanoseconds - earlier.nanoseconds)
    }
}

extension Duration {
    /// The whole duration in nanoseconds; saturates at the ends of `Int64`.
    public var nanoseconds: Int64 {
        // `components` does the same division in four times the instructions.
        Int64(clamping: attoseconds / 1_000_000_000)
    }

    /// The whole duration in milliseconds, rounded towards zero.
    public var milliseconds: Int64 { nanoseconds / 1_000_000 }

    /// The duration in seconds as a floating-point number, for histograms.
    public var inSeconds: Double { Double(nanoseconds) / 1e9 }
}
