internal import Glibc

/// The end of the process without waiting for anything.
public enum ProcessExit {
    /// Ends the process at once; what was not written is lost.
    public static func now(status: Int32) -> Never {
        _exit(status)
    }

    /// Writes a line to standard error past every buffer, for a process that is about to end.
    ///
    /// It blocks for as long as the pipe is full, and tells nobody when it fails.
    public static func lastWords(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
