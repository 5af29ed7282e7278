internal import Glibc

/// A command for `sh` that reads one file and writes another.
///
/// Foundation's `Process` would do the same, but it brings all of Foundation and its tables of the
/// world's languages into the program: 4 MB of an idle worker's memory.
public struct ShellCommand: Sendable {
    private let command: String
    private let input: String
    private let output: String
    private let environment: [String: String]

    /// The command could not be started.
    public struct NotStarted: Error, CustomStringConvertible {
        let code: Int32
        /// What the system says.
        public var description: String {
            "sh cannot be started: \(String(cString: strerror(code)))"
        }
    }

    /// A command with the paths of its files, which are there.
    public init(
        _ command: String,
        input: String,
        output: String,
        environment: [String: String]
    ) {
        self.command = command
        self.input = input
        self.output = output
        self.environment = environment
    }

    /// Runs it and waits for its end.
    ///
    /// - Returns: its exit status, or the number of the signal that ended it.
    public func status() throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, O_WRONLY, 0)
        var attributes = ShellCommand.attributes()
        defer { posix_spawnattr_destroy(&attributes) }
        let variables = environment.map { "\($0.key)=\($0.value)" }
        var process: pid_t = 0
        let code = ShellCommand.withPointers(["sh", "-c", command]) { arguments in
            ShellCommand.withPointers(variables) { variables in
                posix_spawn(&process, "/bin/sh", &actions, &attributes, arguments, variables)
            }
        }
        guard code == 0 else { throw NotStarted(code: code) }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7f
        return signal == 0 ? status >> 8 & 0xff : signal
    }

    /// The worker blocks its stop signals and ignores SIGPIPE; the command does neither.
    private static func attributes() -> posix_spawnattr_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigaddset(&signals, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP
        posix_spawnattr_setflags(&attributes, Int16(flags))
        return attributes
    }

    /// The strings as C wants a list of them: ended by a null pointer.
    private static func withPointers<Result>(
        _ strings: [String],
        _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
    ) -> Result {
        let pointers = strings.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        return body(pointers + [nil])
    }
}
