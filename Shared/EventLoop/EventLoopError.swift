internal import CLinux
internal import Glibc

/// A system call that failed.
public struct EventLoopError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The call, as its manual page names it.
    public let operation: String
    /// The error number that it left.
    public let errno: Int32

    /// An error of `operation`.
    public init(operation: String, errno: Int32) {
        self.operation = operation
        self.errno = errno
    }

    /// The call and the system's words for the error.
    public var description: String {
        "\(operation): \(String(cString: strerror(errno)))"
    }
}
