internal import CLinux
internal import Glibc

/// How many descriptors the process may have.
public enum DescriptorLimit {
    /// Raises the soft limit to the hard one, as every server must, and returns it.
    ///
    /// Where the kernel refuses, the limit stays what it is.
    public static func raise() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return 1024
        }
        if limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = limit.rlim_max
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 {
                limit = raised
            }
        }
        return Int(clamping: limit.rlim_cur)
    }
}
