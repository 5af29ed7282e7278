import Crypto
import EventLoop
import Foundation
import JSON
import Testing

@testable import HTTPServer

/// A store whose answers the test decides.
@LoopActor
private final class ScriptedStore: IdempotencyStore {
    var kept: [String: (hash: [UInt8], response: StoredResponse?)] = [:]
    var log: [String] = []
    var finishError: Problem?

    nonisolated init() {}

    func begin(_ request: IdempotentRequest) async throws -> IdempotencyBegin {
        log.append("begin \(request.key)")
        guard let entry = kept[name(request)] else {
            kept[name(request)] = (request.bodyHash, nil)
            return .started
        }
        guard entry.hash == request.bodyHash else { return .reused }
        return entry.response.map { .replay($0) } ?? .inProgress
    }

    func finish(_ request: IdempotentRequest, _ response: StoredResponse) async throws {
        log.append("finish \(request.key)")
        if let finishError { throw finishError }
        kept[name(request)]?.response = response
    }

    func abandon(_ request: IdempotentRequest) async {
        log.append("abandon \(request.key)")
        kept[name(request)] = nil
    }

    private func name(_ request: IdempotentRequest) -> String {
        "\(request.tenant) \(request.method) \(request.path) \(request.key)"
    }
}

@Suite("Idempotency", .timeLimit(.minutes(1)))
@LoopActor
struct IdempotencyTests {
    private let store = ScriptedStore()
    private let calls = Calls()

    @LoopActor
    private final class Calls {
        var count = 0
        nonisolated init() {}
    }

    private func server(
        _ policy: IdempotencyPolicy,
        wait: Duration = .seconds(5),
        _ handler: Route.Handler? = nil
    ) -> HTTPServer {
        var configuration = HTTPServerConfiguration()
        configuration.idempotencyWait = wait
        let calls = calls
        let counting: Route.Handler = { _ in
            calls.count += 1
            return .json(201, ["call": .int(Int64(calls.count))])
        }
        let routes = ["/things", "/others"].map { pattern in
            Route(
                .post,
                pattern,
                access: .role(.agent),
                summary: "",
                idempotency: policy,
                responses: [:],
                handler: handler ?? counting
            )
        }
        return HTTPServer(
            configuration: configuration,
            router: Router(routes: routes),
            authenticator: TestAuthenticator(),
            idempotency: store,
            known: { $0 is Refusal ? Problem.conflict("refused", "\($0)") : Problem(known: $0) }
        )
    }

    /// What a lower layer throws; only the server's owner knows what it is to callers.
    private struct Refusal: Error {}

    private func post(
        _ server: HTTPServer,
        _ path: String = "/things",
        key: String? = "k",
        tenant: String = "t",
        body: String = "body"
    ) async -> Response {
        var fields: HTTPFields = ["Authorization": "Bearer \(tenant):agent"]
        if let key { fields["Idempotency-Key"] = key }
        return await server.respond(.post, path, fields: fields, body: Array(body.utf8))
    }

    private func text(_ response: Response) -> String {
        String(decoding: response.bytes, as: UTF8.self)
    }

    @Test("a repeat gets the first answer, and says so")
    func replay() async {
        let server = server(.replayed)
        let first = await post(server)
        #expect(first.status == 201)
        #expect(first.fields["Idempotency-Replayed"] == nil)
        let second = await post(server)
        #expect(second.status == 201)
        #expect(second.contentType == "application/json")
        #expect(text(second) == text(first))
        #expect(second.fields["Idempotency-Replayed"] == "true")
        #expect(calls.count == 1)
        #expect(store.log == ["begin k", "finish k", "begin k"])
    }

    @Test("a lower layer's error is the problem that its owner says, and is kept as one")
    func knownErrors() async throws {
        let calls = calls
        let server = server(.replayed) { _ in
            calls.count += 1
            throw Refusal()
        }
        for _ in 0..<2 {
            let response = await post(server)
            #expect(response.status == 409)
            #expect(try JSON(parsing: response.bytes)["code"] == "refused")
        }
        #expect(calls.count == 1)
        #expect(await post(server, key: nil).status == 409)
    }

    @Test("another body under the same key is refused")
    func reused() async throws {
        let server = server(.replayed)
        _ = await post(server)
        let response = await post(server, body: "other")
        #expect(response.status == 422)
        #expect(try JSON(parsing: response.bytes)["code"] == "idempotency_key_reused")
        #expect(calls.count == 1)
    }

    @Test("the same key of another tenant, path or none is another request")
    func scope() async {
        let server = server(.replayed)
        _ = await post(server)
        _ = await post(server, tenant: "u")
        _ = await post(server, "/others")
        _ = await post(server, key: nil)
        _ = await post(server, key: nil)
        #expect(calls.count == 5)
    }

    @Test(
        "a malformed key is refused",
        arguments: ["a b", "é", String(repeating: "k", count: 256)]
    )
    func malformed(key: String) async throws {
        let response = await post(server(.replayed), key: key)
        #expect(response.status == 400)
        #expect(try JSON(parsing: response.bytes)["code"] == "invalid_idempotency_key")
    }

    @Test("fifty equal requests at once make one call, and look at the store once")
    func coalescing() async throws {
        let latch = Latch()
        let calls = calls
        let server = server(.replayed) { _ in
            calls.count += 1
            await latch.pass()
            return .json(201, ["made": true])
        }
        let tasks = (0..<50).map { _ in Task { await post(server) } }
        try await eventually("the first is at work") { latch.arrivals == 1 }
        latch.open()
        var replayed = 0
        for task in tasks {
            let response = await task.value
            #expect(response.status == 201)
            #expect(text(response) == #"{"made":true}"#)
            if response.fields["Idempotency-Replayed"] == "true" { replayed += 1 }
        }
        #expect(replayed == 49)
        #expect(calls.count == 1)
        #expect(store.log == ["begin k", "finish k"])
    }

    @Test(
        "one that waits with another body is refused, one that waited too long is told to come back"
    )
    func waiting() async throws {
        let latch = Latch()
        let server = server(.replayed, wait: .milliseconds(300)) { _ in
            await latch.pass()
            return .empty()
        }
        let first = Task { await post(server) }
        try await eventually("the first is at work") { latch.arrivals == 1 }
        let late = await post(server)
        #expect(late.status == 409)
        #expect(try JSON(parsing: late.bytes)["code"] == "idempotency_in_progress")
        #expect(late.fields["Retry-After"] == "1")
        let other = Task { await post(server, body: "other") }
        await Task.yield()
        latch.open()
        #expect(await first.value.status == 204)
        #expect(await other.value.status == 422)
    }

    @Test("a failure is not kept: the next in line has its turn")
    func failure() async throws {
        let latch = Latch()
        let calls = calls
        let server = server(.replayed) { _ in
            calls.count += 1
            let call = calls.count
            await latch.pass()
            if call == 1 { throw Problem.unavailable("not now") }
            return .text("call \(call)")
        }
        let tasks = (0..<3).map { _ in Task { await post(server) } }
        try await eventually("the first is at work") { latch.arrivals == 1 }
        latch.open()
        #expect(await tasks[0].value.status == 503)
        #expect(text(await tasks[1].value) == "call 2")
        #expect(text(await tasks[2].value) == "call 2")
        #expect(store.log == ["begin k", "abandon k", "begin k", "finish k"])
    }

    nonisolated static let finals: [(Int, Bool)] = [
        (200, true), (201, true), (202, true), (204, true), (303, true), (404, true), (409, true),
        (410, true), (400, false), (401, false), (403, false), (408, false), (413, false),
        (415, false), (422, false), (429, false), (500, false), (503, false),
    ]

    @Test("what is kept and what is not", arguments: finals)
    func kept(status: Int, isKept: Bool) async {
        let server = server(.replayed) { _ in
            if status >= 400 { throw Problem(status: status) }
            return Response.empty(status)
        }
        #expect(await post(server).status == status)
        #expect(store.log == ["begin k", isKept ? "finish k" : "abandon k"])
    }

    @Test("a conflict that says it may be tried again is not kept: the repeat is a new try")
    func retryable() async {
        let calls = calls
        let server = server(.replayed) { _ in
            calls.count += 1
            guard calls.count == 1 else { return .text("done") }
            var problem = Problem.conflict("already_processing", "another one is at it")
            problem.retryable = true
            throw problem
        }
        #expect(await post(server).status == 409)
        #expect(await post(server).status == 200)
        #expect(store.log == ["begin k", "abandon k", "begin k", "finish k"])
    }

    @Test("an answer that cannot be kept is still given")
    func finishFails() async {
        store.finishError = .unavailable("away")
        #expect(await post(server(.replayed)).status == 201)
    }

    @Test("a key that another process holds is waited for, then 409")
    func otherProcess() async throws {
        let server = server(.replayed, wait: .milliseconds(250))
        // The other process is at work on the same request.
        let hash = Array(SHA256.hash(data: Data("body".utf8)))
        store.kept["t POST /things k"] = (hash, nil)
        #expect(await post(server).status == 409)
        let waiting = Task { await post(server) }
        try await EventLoop.shared.sleep(for: .milliseconds(20))
        let stored = StoredResponse(status: 200, contentType: "text/plain", body: [0x61])
        store.kept["t POST /things k"]?.response = stored
        let replayed = await waiting.value
        #expect(text(replayed) == "a")
        #expect(replayed.fields["Idempotency-Replayed"] == "true")
    }

    @Test("a handler that keeps its own results gets the key, one at a time")
    func inHandler() async throws {
        let latch = Latch()
        let calls = calls
        let server = server(.inHandler) { request in
            calls.count += 1
            await latch.pass()
            calls.count -= 1
            #expect(calls.count == 0)
            return .text(request.context.idempotencyKey ?? "none")
        }
        let tasks = (0..<5).map { _ in Task { await post(server) } }
        try await eventually("the first is at work") { latch.arrivals == 1 }
        #expect(calls.count == 1)
        latch.open()
        for task in tasks { #expect(text(await task.value) == "k") }
        #expect(latch.arrivals == 5)
        #expect(store.log.isEmpty)
    }

    @Test("only so many may wait for one key")
    func waitersMax() async throws {
        let latch = Latch()
        let server = server(.replayed) { _ in
            await latch.pass()
            return .empty()
        }
        let count = IdempotencyGate.waitersMax + 10
        let tasks = (0..<count).map { _ in Task { await post(server) } }
        try await eventually("the first is at work") { latch.arrivals == 1 }
        try await EventLoop.shared.sleep(for: .milliseconds(10))
        latch.open()
        var statuses: [Int: Int] = [:]
        for task in tasks { statuses[await task.value.status, default: 0] += 1 }
        #expect(statuses == [204: IdempotencyGate.waitersMax + 1, 409: 9])
    }

    @Test("one that gives up waiting leaves no trace, and the others go on")
    func cancelledWaiter() async throws {
        let gate = IdempotencyGate()
        let request = IdempotentRequest(
            tenant: "t",
            tenantID: nil,
            method: "POST",
            path: "/",
            key: "k",
            bodyHash: []
        )
        let scope = IdempotencyGate.Scope(request)
        #expect(await gate.enter(scope, wait: .seconds(5)) == .turn)
        let given = Task { await gate.enter(scope, wait: .seconds(60)) }
        let staying = Task { await gate.enter(scope, wait: .seconds(60)) }
        try await EventLoop.shared.sleep(for: .milliseconds(5))
        given.cancel()
        #expect(await given.value == .busy)
        gate.leave(scope, nil)
        #expect(await staying.value == .turn)
        gate.leave(scope, nil)
        #expect(gate.count == 0)
    }
}
