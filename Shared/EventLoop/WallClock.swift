internal import CLinux

/// The time of day, for what people and other programs read; deadlines use ``MonotonicTime``.
public enum WallClock {
    /// Milliseconds since 1970-01-01T00:00:00Z (CLOCK_REALTIME).
    public static func milliseconds() -> Int64 { nanoseconds() / 1_000_000 }

    /// Nanoseconds since 1970-01-01T00:00:00Z (CLOCK_REALTIME).
    public static func nanoseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
