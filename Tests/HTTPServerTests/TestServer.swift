import EventLoop
import JSON
import Testing

@testable import HTTPServer

/// A server on a free port of the loopback.
@LoopActor
struct TestServer {
    let server: HTTPServer
    let port: Int

    init(
        _ routes: [Route],
        authenticator: (any Authenticator)? = nil,
        idempotency: (any IdempotencyStore)? = nil,
        observer: (any HTTPServerObserver)? = nil,
        change: (inout HTTPServerConfiguration) -> Void = { _ in }
    ) async throws {
        var configuration = HTTPServerConfiguration()
        configuration.host = "127.0.0.1"
        configuration.sharesPort = false
        change(&configuration)
        server = HTTPServer(
            configuration: configuration,
            router: Router(routes: routes),
            authenticator: authenticator,
            idempotency: idempotency,
            observer: observer
        )
        port = try await server.start()
    }

    func client(receiveBuffer: Int32? = nil) async throws -> TestClient {
        try await TestClient(port: port, receiveBuffer: receiveBuffer)
    }
}

/// A handler that waits for the test.
@LoopActor
final class Latch {
    private var waiters: [CheckedContinuation<Void, Never>] = []
    private(set) var isOpen = false
    /// How many have come so far.
    private(set) var arrivals = 0

    nonisolated init() {}

    func pass() async {
        arrivals += 1
        guard !isOpen else { return }
        await withCheckedContinuation { waiters.append($0) }
    }

    func open() {
        isOpen = true
        let resumed = waiters
        waiters = []
        for waiter in resumed { waiter.resume() }
    }
}

/// Waits until something on the loop has come true; fails the test after five seconds.
@LoopActor
func eventually(
    _ what: Comment,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: @LoopActor () -> Bool
) async throws {
    for _ in 0..<2500 {
        if condition() { return }
        try await EventLoop.shared.sleep(for: .milliseconds(2))
    }
    Issue.record(what, sourceLocation: sourceLocation)
}

/// Routes that most tests need.
enum TestRoutes {
    static let ping = Route(
        .get,
        "/ping",
        access: .open,
        summary: "Answers pong",
        responses: [200: RouteResponse("pong", contentType: "text/plain")]
    ) { _ in .text("pong") }

    /// Runs without a task.
    static let atOnce = Route(
        .get,
        "/at-once/{name}",
        summary: "Answers the name",
        responses: [200: RouteResponse("the name", contentType: "text/plain")],
        immediateHandler: { request in
            guard request.parameters["name"] != "error" else { throw Problem.notFound }
            return .text(request.parameters["name"])
        }
    )

    static let echo = Route(
        .post,
        "/echo",
        access: .open,
        summary: "Answers the body",
        responses: [200: RouteResponse("the body", contentType: "application/octet-stream")]
    ) { request in
        Response(contentType: "application/octet-stream", body: .bytes(request.body))
    }

    /// Waits for a later tick.
    static let wait = Route(
        .get,
        "/wait/{name}",
        access: .open,
        summary: "Answers the name, later",
        responses: [200: RouteResponse("the name", contentType: "text/plain")]
    ) { request in
        try await EventLoop.shared.sleep(for: .microseconds(1))
        return .text(request.parameters["name"])
    }

    /// Does not wait.
    static let name = Route(
        .get,
        "/name/{name}",
        access: .open,
        summary: "Answers the name",
        responses: [200: RouteResponse("the name", contentType: "text/plain")]
    ) { .text($0.parameters["name"]) }

    static func latched(_ latch: Latch) -> Route {
        Route(
            .get,
            "/latched",
            access: .open,
            summary: "Waits for the test",
            responses: [200: RouteResponse("done", contentType: "text/plain")]
        ) { _ in
            await latch.pass()
            return .text("done")
        }
    }

    static func large(_ size: Int) -> Route {
        Route(
            .get,
            "/large",
            access: .open,
            summary: "Answers much",
            responses: [200: RouteResponse("much", contentType: "application/octet-stream")]
        ) { _ in
            let body = [UInt8](repeating: UInt8(ascii: "x"), count: size)
            return Response(contentType: "application/octet-stream", body: .bytes(body))
        }
    }
}
