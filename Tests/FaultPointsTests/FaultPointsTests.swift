import Foundation
import Testing

@testable import FaultPoints

@Suite("FaultPoints", .timeLimit(.minutes(1)))
struct FaultPointsTests {
    @Test("without a plan nothing happens")
    func unarmed() async throws {
        for _ in 0..<1000 { try await FaultPoints.reached("test.point") }
    }

    @Test("die: the process is killed when the place is reached for that time")
    func die() async {
        await #expect(processExitsWith: .signal(SIGKILL)) {
            setenv(FaultPoints.variable, "test.point:3:die", 1)
            try await FaultPoints.reached("test.point")
            try await FaultPoints.reached("test.other")
            try await FaultPoints.reached("test.point")
            try await FaultPoints.reached("test.point")
        }
        await #expect(processExitsWith: .success) {
            setenv(FaultPoints.variable, "test.point:3:die", 1)
            for _ in 0..<2 { try await FaultPoints.reached("test.point") }
            for _ in 0..<9 { try await FaultPoints.reached("test.other") }
        }
    }

    @Test("error: thrown once, at that time, with the place's name")
    func error() async {
        await #expect(processExitsWith: .success) {
            setenv(FaultPoints.variable, "*:2:error", 1)
            var thrown: [String] = []
            for _ in 0..<3 {
                thrown += await faults { () async throws(InjectedFault) in
                    try await FaultPoints.reached("test.first")
                }
                thrown += await faults { () async throws(InjectedFault) in
                    try await FaultPoints.reached("test.second")
                }
            }
            precondition(thrown == ["test.second"], "\(thrown)")
        }
    }

    @Test("hang: the process stands still until it is continued, and goes on")
    func hang() async {
        await #expect(processExitsWith: .success) {
            setenv(FaultPoints.variable, "test.point:1:hang", 1)
            let helper = try startHelper(watching: getpid())
            try await FaultPoints.reached("test.point")
            helper.waitUntilExit()
            precondition(helper.terminationStatus == 0, "the process was never seen stopped")
        }
    }

    @Test(
        "malformed plans",
        arguments: [
            "x", "x:1", "x:0:die", "x:-1:die", "x:a:die", ":1:die", "x:1:", "x:1:DIE", "a:b:1:die",
        ]
    )
    func malformed(text: String) {
        #expect(FaultPlan(text) == nil)
    }

    @Test("a malformed plan ends the process instead of testing nothing")
    func malformedTraps() async {
        await #expect(processExitsWith: .failure) {
            setenv(FaultPoints.variable, "test.point:once:die", 1)
            try await FaultPoints.reached("test.point")
        }
    }
}

/// Starts a shell that waits until the process is stopped, continues it, and succeeds.
private func startHelper(watching process: Int32) throws -> Process {
    let script = """
        for i in $(seq 1000); do
          case "$(cut -d' ' -f3 /proc/\(process)/stat)" in T) kill -CONT \(process); exit 0;; esac
          sleep 0.01
        done
        kill -CONT \(process); exit 1
        """
    let shell = Process()
    shell.executableURL = URL(fileURLWithPath: "/bin/sh")
    shell.arguments = ["-c", script]
    try shell.run()
    return shell
}

/// The names of the faults that `body` meets.
private func faults(_ body: () async throws(InjectedFault) -> Void) async -> [String] {
    do {
        try await body()
        return []
    } catch {
        return [error.name]
    }
}
