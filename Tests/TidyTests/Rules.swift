/// Where unsafe code may be: the modules that wrap a C library.
private let wrappers = [
    "Shared/EventLoop", "Shared/PostgresClient", "Shared/Processes", "Shared/RedisClient",
    "Shared/HTTPClient",
]

/// The only module that imports each C module.
private let wrapperOf = [
    "CLinux": "Shared/EventLoop",
    "CLibPQ": "Shared/PostgresClient",
    "CHiredis": "Shared/RedisClient",
    "CLibCurl": "Shared/HTTPClient",
    "COpenSSL": "Shared/RedisClient",
]

/// Where the wall clock is read: the times of log lines and of the `Date` header.
private let wallClocks = ["Shared/EventLoop", "Shared/Telemetry", "Shared/HTTPServer"]

/// Files longer than the limit, each with its own limit and the reason.
let longFiles: [String: (limit: Int, reason: String)] = [:]

/// Functions longer than the limit, as `path: name`, each with its own limit and the reason.
let longFunctions: [String: (limit: Int, reason: String)] = [:]

let fileLengthMax = 400
let functionLengthMax = 70

/// Every rule, in the order in which findings are read best.
let rules: [Rule] =
    [
        lengthOfFiles, lengthOfFunctions, folderNames, importsOfC, importsOfServices,
        importsOfQueue, namesOfStreams,
    ]
    + [
        .text(
            "unfinished work",
            #"(?i)\b(TODO|FIXME|XXX|for now|placeholder)\b"#,
            reason: "finish it, or say in other words why it is right as it is"
        ),
        .text(
            "paths of one machine",
            #"(^|[\s"'=:(`])/(home|Users|root|work)/\w"#,
            reason: "the project knows no machine"
        ),
        .text(
            "time limits of tests",
            #"^(setup|setup_suite)\(\) \{[^}]*\bBATS_TEST_TIMEOUT="#,
            reason: "a test's time is counted before setup runs: set its limit in setup_file"
        ),
        .code(
            "unchecked sendability",
            #"@unchecked\b"#,
            onlyIn: ["Shared/EventLoop/EventLoop.swift"],
            reason: "loop state is isolated by LoopActor"
        ),
        .code(
            "mutexes",
            #"\bMutex[(<]"#,
            onlyIn: ["Shared/EventLoop/Guarded.swift"],
            reason: "Guarded is the mutex that the thread sanitizer understands"
        ),
        .code(
            "unsafe code",
            #"\bunsafe\b|\bUnsafe\w*Pointer\b|\bUnmanaged\b"#,
            onlyIn: wrappers,
            notBelow: ["Tests"],
            reason: "only the wrappers of C libraries hold unsafe code"
        ),
        .code(
            "wall clock",
            #"\bDate\(\)|\bDate\.now\b|\bCLOCK_REALTIME\b|\bgettimeofday\b|\btime\(nil\)"#,
            onlyIn: wallClocks,
            notBelow: ["Tests"],
            reason: "take the time as a parameter"
        ),
        .code(
            "tasks that leave the loop",
            #"\bTask\.detached\b"#,
            reason: "a detached task leaves the loop's thread"
        ),
        .code(
            "sleeping",
            #"\bTask\.sleep\b"#,
            // Waits for a server's process, which no loop knows of.
            onlyIn: ["Shared/TestSupport/PrivateRedis.swift"],
            reason: "EventLoop.shared.sleep or .schedule; tests wait for what they expect"
        ),
        .code(
            "blocking the thread",
            #"\bThread\.sleep\b|\busleep\(|\bnanosleep\("#,
            notBelow: ["Tests"],
            reason: "everything else on the loop would wait too"
        ),
        .code(
            "traps",
            #"\bfatalError\("#,
            notBelow: ["Tests"],
            reason: "operating errors are thrown, our own bugs are preconditions with a reason"
        ),
        .code(
            "zones by name",
            #"\bTimeZone(\.init)?\(identifier:"#,
            onlyIn: ["Shared/TimeZones/TimeZone+IANA.swift"],
            reason: "TimeZone.iana(_:) knows the zones in a static build too"
        ),
        .code(
            "counters of one's own",
            #"\bInMemoryRoundRobinContextProvider\("#,
            onlyIn: ["Shared/Coordination"],
            notBelow: ["Tests"],
            reason: "the factory chooses the provider, and it is injected"
        ),
        .code(
            "clients of Redis",
            #"\bRedisClient\("#,
            onlyIn: ["Shared/Platform/RedisClients.swift"],
            notBelow: ["Tests"],
            reason: "RedisClients makes them all: a swap is one line"
        ),
        .code("forced tries", #"\btry!"#, reason: "throw it on, or handle it"),
    ]

private let lengthOfFiles = Rule(name: "length of files") { file in
    guard file.isSwift else { return [] }
    let count = file.text.split(separator: "\n", omittingEmptySubsequences: false).count - 1
    let limit = longFiles[file.path]?.limit ?? fileLengthMax
    guard count > limit else { return [] }
    return [Finding(path: file.path, line: count, message: "\(count) lines; \(limit) are allowed")]
}

private let lengthOfFunctions = Rule(name: "length of functions") { file in
    guard file.isSwift else { return [] }
    return FunctionLengths.functions(in: file.code)
        .compactMap { function in
            let limit =
                longFunctions["\(file.path): \(function.name)"]?.limit ?? functionLengthMax
            guard function.length > limit else { return nil }
            let message = "\(function.name) has \(function.length) lines; \(limit) are allowed"
            return Finding(path: file.path, line: function.line, message: message)
        }
}

private let folderNames = Rule(name: "names of folders") { file in
    let forbidden: Set<String> = ["utils", "util", "helpers", "helper", "common", "misc"]
    return file.path.split(separator: "/").dropLast()
        .filter { forbidden.contains($0.lowercased()) }
        .map { Finding(path: file.path, line: 1, message: "the folder '\($0)' says nothing") }
}

private let importsOfC = Rule(name: "imports of C modules") { file in
    try imports(of: file).compactMap { line, module in
        guard let wrapper = wrapperOf[module], !file.isBelow([wrapper]) else { return nil }
        let message = "only \(wrapper) imports \(module)"
        return Finding(path: file.path, line: line, message: message)
    }
}

private let importsOfServices = Rule(name: "imports of services") { file in
    let folders = [
        "messaging": "Messaging", "assignment_engine": "AssignmentEngine",
        "dispatch_worker": "DispatchWorker",
    ]
    // A service's own tests may import it, one service per folder of tests.
    guard file.isBelow(["Services", "Shared"]) else { return [] }
    return try imports(of: file).compactMap { line, module in
        guard let folder = folders[module] else { return nil }
        let message = "no code imports the service \(folder); it calls its API"
        return Finding(path: file.path, line: line, message: message)
    }
}

/// What a queue may know of: nothing that could tell a tenant's configuration or secrets.
private let queueImports: Set<String> = [
    "DequeModule", "EventLoop", "Foundation", "FoundationEssentials", "JSON", "JobQueue",
    "RedisClient", "TimeZones",
]

private let importsOfQueue = Rule(name: "imports of the queue") { file in
    let service = "Services/DispatchWorker/Worker/MessageRequestQueueService.swift"
    guard file.isBelow(["Shared/JobQueue"]) || file.path == service else { return [] }
    return try imports(of: file).filter { !queueImports.contains($0.module) }
        .map { line, module in
            let message = "the queue layer knows of no configuration: not of \(module) either"
            return Finding(path: file.path, line: line, message: message)
        }
}

/// A stream's key is spelt once; a hot one is split there.
private let namesOfStreams = Rule(name: "names of streams") { file in
    guard file.isSwift, !file.isBelow(["Shared/Outbox", "Tests"]) else { return [] }
    return try Pattern(#""(switchboard|analytics):events"#).matches(in: file.text).map { match in
        Finding(path: file.path, line: match.line, message: "name it through EventStreams")
    }
}

/// The modules that a Swift file imports, with the lines where it does.
private func imports(of file: SourceFile) throws -> [(line: Int, module: String)] {
    let words = "public|package|internal|fileprivate|private|@\\w+(?:\\(\\w+\\))?"
    return try Pattern("^ *(?:(?:\(words)) +)*import +[\\w. ]+$").matches(in: file.code)
        .compactMap { match in
            // `import struct Module.Type` names the module last, before the dot.
            guard let last = match.words.split(separator: " ").last,
                let module = last.split(separator: ".").first
            else { return nil }
            return (match.line, String(module))
        }
}
