import Testing

/// A small file to try one rule on.
struct Sample: Sendable, CustomTestStringConvertible {
    let rule: String
    let path: String
    let text: String

    init(_ rule: String, _ text: String, at path: String = "Services/Messaging/Sample.swift") {
        self.rule = rule
        self.path = path
        self.text = text
    }

    var testDescription: String { "\(rule): \(text.prefix(60).debugDescription)" }

    private static func lines(_ count: Int) -> String { String(repeating: "x()\n", count: count) }

    /// Each breaks its rule once.
    static let forbidden: [Sample] = [
        Sample("length of files", lines(401)),
        Sample("length of functions", "func a() {\n\(lines(70))}\n"),
        Sample("length of functions", "init<T>(\n    a: T = { 1 }()\n) {\n\(lines(70))}\n"),
        Sample("length of functions", "func f(_ s: String = \"}\") -> Int\n{\n\(lines(69))}\n"),
        Sample("names of folders", "", at: "Shared/Utils/A.swift"),
        Sample("names of folders", "", at: "compose/common/a.sh"),
        Sample("imports of C modules", "internal import CLibPQ\n"),
        Sample("imports of C modules", "import CHiredis", at: "Shared/Outbox/A.swift"),
        Sample("imports of C modules", "import COpenSSL", at: "Shared/HTTPClient/A.swift"),
        Sample("imports of C modules", "@preconcurrency import struct CLinux.epoll_event"),
        Sample("imports of services", "import dispatch_worker"),
        Sample("imports of services", "import messaging", at: "Shared/Domain/A.swift"),
        Sample("imports of the queue", "import Platform", at: "Shared/JobQueue/A.swift"),
        Sample("names of streams", "let a = \"switchboard:events\"", at: "Services/A/A.swift"),
        Sample("zones by name", "TimeZone(identifier: name)"),
        Sample("zones by name", "flatMap(TimeZone.init(identifier:))"),
        Sample("unfinished work", "// TODO: the rest"),
        Sample("unfinished work", "let a = 1  // fixme later"),
        Sample("unfinished work", "# XXX", at: "compose/local"),
        Sample("unfinished work", "It is so for now.", at: "README.md"),
        Sample("unfinished work", "-- a Placeholder", at: "compose/migrations/0001_a.sql"),
        Sample("paths of one machine", "cd /home/ben/switchboard", at: "compose/local"),
        Sample("paths of one machine", "let a = \"/root/x\""),
        Sample(
            "time limits of tests",
            "setup() {\n    cd a || return\n    export BATS_TEST_TIMEOUT=9\n}",
            at: "Tests/A/a.bats"
        ),
        Sample("unchecked sendability", "final class A: @unchecked Sendable {}"),
        Sample("unchecked sendability", "struct A: @unchecked Sendable {}", at: "Tests/A/A.swift"),
        Sample("unsafe code", "nonisolated(unsafe) var a = 1"),
        Sample("mutexes", "let a = Mutex(0)", at: "Tests/A/A.swift"),
        Sample("unsafe code", "let a = unsafe b"),
        Sample("unsafe code", "func a(_ b: UnsafeMutableRawPointer) {}", at: "Shared/JSON/A.swift"),
        Sample("wall clock", "let now = Date()"),
        Sample("wall clock", "clock_gettime(CLOCK_REALTIME, &now)"),
        Sample("tasks that leave the loop", "Task.detached { }", at: "Tests/A/A.swift"),
        Sample("sleeping", "try await Task.sleep(for: .seconds(1))"),
        Sample("sleeping", "try? await Task.sleep(nanoseconds: 1)", at: "Tests/A/A.swift"),
        Sample("blocking the thread", "usleep(1000)"),
        Sample("traps", "fatalError(\"no\")"),
        Sample("counters of one's own", "let a = InMemoryRoundRobinContextProvider()"),
        Sample("clients of Redis", "let a = RedisClient(b) { _ in }"),
        Sample("names of streams", "let a = \"switchboard:events:\\(b)\""),
        Sample("forced tries", "let a = try! b()", at: "Tests/A/A.swift"),
    ]

    /// Each comes close to breaking its rule.
    static let allowed: [Sample] = [
        Sample("length of files", lines(400)),
        Sample("length of files", lines(900), at: "compose/migrations/0001_a.sql"),
        Sample("length of functions", "func a() {\n\(lines(68))}\n"),
        Sample(
            "length of functions",
            "protocol P {\n    func a()\n    init(b: Int)\n}\n\(lines(90))"
        ),
        Sample("length of functions", "let a = B.init(c) \n{\n\(lines(90))}\n"),
        Sample("names of folders", "", at: "Shared/Commons/A.swift"),
        Sample(
            "imports of C modules",
            "internal import CLibPQ",
            at: "Shared/PostgresClient/A.swift"
        ),
        Sample("imports of C modules", "let a = \"import CLibPQ\"  // import CLibPQ"),
        Sample(
            "imports of services",
            "@testable import messaging",
            at: "Tests/MessagingTests/A.swift"
        ),
        Sample("imports of services", "import Domain"),
        Sample("imports of the queue", "public import JSON", at: "Shared/JobQueue/A.swift"),
        Sample(
            "time limits of tests",
            "setup_file() { export BATS_TEST_TIMEOUT=9; }\nsetup() { cd a; }",
            at: "Tests/A/a.bats"
        ),
        Sample("unfinished work", "let stack = mktemp(\"XXXXXX\"); todos = []; forNow()"),
        Sample("paths of one machine", "GET /workspaces/a and v1/work/b; /home"),
        Sample("unchecked sendability", "// never @unchecked Sendable"),
        Sample("mutexes", "let a = Guarded(0)"),
        Sample("unsafe code", "let a = \"unsafe \\(b)\" /* Unmanaged */"),
        Sample("unsafe code", "nonisolated(unsafe) let a = 1", at: "Tests/A/A.swift"),
        Sample("unsafe code", "unsafe a()", at: "Shared/RedisClient/A.swift"),
        Sample("wall clock", "let a = Date(timeIntervalSince1970: b); CLOCK_MONOTONIC"),
        Sample("wall clock", "let a = Date()", at: "Tests/A/A.swift"),
        Sample("tasks that leave the loop", "Task { @LoopActor in await a() }"),
        Sample("sleeping", "await EventLoop.shared.sleep(for: .milliseconds(5))"),
        Sample("blocking the thread", "usleep(1000)", at: "Tests/A/A.swift"),
        Sample(
            "counters of one's own",
            "return InMemoryRoundRobinContextProvider()",
            at: "Shared/Coordination/A.swift"
        ),
        Sample("clients of Redis", "let a = RedisClients.make(b)"),
        Sample("names of streams", "let a = EventStreams().stream(for: tenant)"),
        Sample("names of streams", "let a = \"analytics:events\"", at: "Shared/Outbox/A.swift"),
        Sample("forced tries", "let a = try? b()"),
        Sample("traps", "precondition(a, \"fatalError(\"); try b()"),
    ]
}
