// swift-tools-version: 6.2
import PackageDescription

// One package. `Domain` <- `Shared/*` <- `Services/*`: each target names what it may import, and the
// compiler holds it to that. Only the wrapper of a C library depends on the library's `C…` target.

let packages: [Package.Dependency] = [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
]

let arguments: Target.Dependency =
    .product(name: "ArgumentParser", package: "swift-argument-parser")
let deques: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let heaps: Target.Dependency = .product(name: "HeapModule", package: "swift-collections")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")

/// What every service is built on.
let platformParts: [Target.Dependency] = [
    "Coordination", "EventLoop", "FaultPoints", "HTTPClient", "HTTPServer", "JSON", "Outbox",
    "PostgresClient", "RedisClient", "Telemetry", "Tracing", crypto, logging,
]

/// What every executable names beside its own.
let serviceParts: [Target.Dependency] = platformParts + ["Platform", arguments]

let common: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

/// What is served with.
///
/// Overlapping accesses trap in every debug build, and with it in every test; checking for them
/// again in a release costs 13 % of the instructions of a request.
let served: [SwiftSetting] =
    common
    + [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]

/// A library that wraps a C library: the only kind that may hold unsafe code.
func wrapper(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(
        name: name,
        dependencies: dependencies,
        path: "Shared/\(name)",
        swiftSettings: served
    )
}

/// A library without C: the compiler proves that it holds no unsafe code.
func shared(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: name,
        dependencies: dependencies,
        path: "Shared/\(name)",
        swiftSettings: served + [.strictMemorySafety()]
    )
}

func service(
    _ name: String,
    product: String,
    pages: [String] = [],
    _ dependencies: [Target.Dependency]
) -> Target {
    .executableTarget(
        name: product,
        dependencies: dependencies,
        path: "Services/\(name)",
        exclude: pages,
        swiftSettings: served + [.strictMemorySafety()]
    )
}

/// A test suite; `Tests/<name>`.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name,
        dependencies: dependencies,
        path: "Tests/\(name)",
        swiftSettings: common
    )
}

/// A program that checks outside this package drive; `Tests/<name>`.
func probe(_ name: String, product: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: product,
        dependencies: dependencies,
        path: "Tests/\(name)",
        swiftSettings: common
    )
}

let package = Package(
    name: "switchboard",
    dependencies: packages,
    targets: [
        .systemLibrary(name: "CLinux", path: "Shared/CLinux"),
        .systemLibrary(name: "CLibPQ", path: "Shared/CLibPQ", pkgConfig: "libpq"),
        // Its pkg-config file carries a flag that SwiftPM refuses with a warning at every build.
        .systemLibrary(name: "CHiredis", path: "Shared/CHiredis"),
        .systemLibrary(name: "COpenSSL", path: "Shared/COpenSSL", pkgConfig: "openssl"),
        .systemLibrary(name: "CLibCurl", path: "Shared/CLibCurl", pkgConfig: "libcurl"),

        wrapper("EventLoop", ["CLinux", heaps]),
        shared("JSON"),
        shared("Tracing", ["EventLoop"]),
        shared("Telemetry", ["EventLoop", "JSON", "Tracing", deques, logging, metrics]),
        shared("HTTPServer", ["EventLoop", "JSON", "Tracing", crypto, logging]),
        wrapper("HTTPClient", ["EventLoop", "CLibCurl", deques]),
        wrapper("RedisClient", ["CHiredis", "COpenSSL", "EventLoop", deques]),
        wrapper("PostgresClient", ["CLibPQ", "EventLoop", deques]),
        shared("FaultPoints", ["EventLoop"]),
        shared("Coordination", ["EventLoop", "PostgresClient", "RedisClient", "Tracing", crypto]),
        shared(
            "Outbox",
            ["EventLoop", "FaultPoints", "JSON", "PostgresClient", "RedisClient", "Tracing"]
        ),
        shared("JobQueue", ["EventLoop", "JSON", "RedisClient", "TimeZones", deques]),
        shared("Platform", platformParts),
        shared("Domain"),
        shared("TimeZones"),
        wrapper("Processes", []),
        wrapper("TestSupport", ["EventLoop", "PostgresClient"]),
        service(
            "AssignmentEngine",
            product: "assignment-engine",
            serviceParts + ["Domain", "TimeZones", metrics]
        ),
        service(
            "Messaging",
            product: "messaging",
            pages: ["AUTO_ASSIGN.md"],
            serviceParts + ["Domain", "JobQueue", deques]
        ),
        service(
            "DispatchWorker",
            product: "dispatch-worker",
            serviceParts + ["JobQueue", "Processes"]
        ),

        probe(
            "SlackStandIn",
            product: "slack-standin",
            ["EventLoop", "HTTPServer", "JSON", crypto]
        ),
        probe(
            "Bench/Server",
            product: "bench-server",
            [
                "EventLoop", "HTTPServer", "JSON", "Platform", "PostgresClient", "RedisClient",
                "Telemetry", logging,
            ]
        ),
        probe(
            "QueueBench",
            product: "queue-bench",
            ["EventLoop", "JSON", "JobQueue", "RedisClient", arguments]
        ),
        tests(
            "DispatchWorkerTests",
            [
                "dispatch-worker", "EventLoop", "HTTPClient", "HTTPServer", "JSON", "JobQueue",
                "Platform", "Processes", "RedisClient", "TestSupport",
            ]
        ),
        tests(
            "Simulation",
            ["dispatch-worker", "EventLoop", "JSON", "PostgresClient", "TestSupport"]
        ),
        tests("EventLoopTests", ["EventLoop"]),
        tests("JSONTests", ["JSON"]),
        tests("JobQueueTests", ["EventLoop", "JSON", "JobQueue", "RedisClient", "TestSupport"]),
        tests("HTTPServerTests", ["HTTPServer", "EventLoop", "JSON", "Tracing", crypto]),
        tests("TelemetryTests", ["Telemetry", "EventLoop", "JSON", "Tracing", logging, metrics]),
        tests("TracingTests", ["EventLoop", "Tracing"]),
        probe("HTTPParserProbe", product: "HTTPParserProbe", ["HTTPServer"]),
        tests("PostgresClientTests", ["EventLoop", "PostgresClient", "TestSupport", deques]),
        tests("TidyTests", []),
        tests(
            "CoordinationTests",
            ["Coordination", "EventLoop", "PostgresClient", "RedisClient", "TestSupport"]
        ),
        tests(
            "OutboxTests",
            ["EventLoop", "Outbox", "PostgresClient", "RedisClient", "TestSupport"]
        ),
        tests(
            "PlatformTests",
            [
                "Coordination", "EventLoop", "HTTPServer", "Platform", "PostgresClient",
                "RedisClient", "TestSupport", "Tracing", logging,
            ]
        ),
        tests(
            "AssignmentEngineTests",
            [
                "assignment-engine", "Coordination", "Domain", "EventLoop", "HTTPServer", "JSON",
                "Platform", "PostgresClient", "RedisClient", "TestSupport", logging,
            ]
        ),
        tests(
            "MessagingTests",
            [
                "messaging", "Coordination", "Domain", "EventLoop", "HTTPServer", "JSON",
                "JobQueue",
                "Platform", "PostgresClient", "RedisClient", "TestSupport", logging,
            ]
        ),
        tests("HTTPClientTests", ["HTTPClient", "EventLoop", "TestSupport"]),
        tests("FaultPointsTests", ["FaultPoints"]),
        tests("TestSupportTests", ["TestSupport", "EventLoop"]),
        tests("DomainTests", ["Domain", "TestSupport"]),
        tests("RedisClientTests", ["EventLoop", "RedisClient", "TestSupport"]),
    ]
)

// The thread sanitizer looks at the libraries alone. What is built on them takes as long to build as they
// do, and nothing of it runs there.
if Context.environment["SWITCHBOARD_LIBRARIES_ONLY"] != nil {
    let programs = Set(package.targets.filter { $0.type == .executable }.map(\.name))
    package.targets.removeAll { target in
        programs.contains(target.name)
            || target.dependencies.contains { dependency in
                if case .byNameItem(let name, _) = dependency {
                    programs.contains(name)
                } else {
                    false
                }
            }
    }
}
