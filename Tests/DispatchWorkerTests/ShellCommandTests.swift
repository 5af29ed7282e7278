import EventLoop
import FoundationEssentials
import Glibc
import Processes
import Testing

@testable import dispatch_worker

@Suite("ShellCommandTests")
struct ShellCommandTests {
    /// Runs a command with a text as its input; its status and what it wrote.
    private func run(_ command: String, input: String = "") async throws -> (Int32, String) {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("shell-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let files = ["in", "out"].map { folder.appendingPathComponent($0) }
        try Data(input.utf8).write(to: files[0])
        try Data().write(to: files[1])
        let run = ShellCommand(
            command,
            input: files[0].path,
            output: files[1].path,
            environment: QueueEnvironment.variables()
        )
        let status = try await Offload(name: "test.exec").run { try run.status() }
        return (status, String(decoding: try Data(contentsOf: files[1]), as: UTF8.self))
    }

    @Test("a command reads its input and writes its output")
    func output() async throws {
        #expect(try await run("tr a-z A-Z", input: "hello") == (0, "HELLO"))
    }

    @Test("a command's exit status is told, and the signal that ended it")
    func status() async throws {
        #expect(try await run("exit 7").0 == 7)
        #expect(try await run("kill -TERM $$").0 == SIGTERM)
    }

    @Test("a command has the worker's environment")
    func environment() async throws {
        let path = try #require(QueueEnvironment.variables()["PATH"])
        #expect(try await run("printf %s \"$PATH\"") == (0, path))
    }

    @Test("a command does not inherit an ignored SIGPIPE or blocked stop signals")
    func signals() async throws {
        // The masks of pending, blocked, ignored and caught signals, in hex.
        let (_, text) = try await run("grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f 2")
        for mask in text.split(separator: "\n") {
            #expect(try #require(UInt64(mask, radix: 16)) & (1 << 12 | 1 << 14) == 0)
        }
    }
}
