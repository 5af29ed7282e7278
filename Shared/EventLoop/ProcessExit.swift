internal import Glibc

/// The end of the process without waiting for anything.
public enum ProcessExit {
    /// Ends the process at once; what was not written is lost.
    public static func now(status: Int32) -> Never {
        _exit(status)
    }
}
