internal import Crypto
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Tracing

/// What stands between a whole request and its handler: who asks, may they, did they ask before.
@LoopActor
final class RequestPipeline {
    let router: Router
    private let authenticator: (any Authenticator)?
    private let store: (any IdempotencyStore)?
    private let gate = IdempotencyGate()
    private let idempotencyWait: Duration
    private let logger = Logger(label: "http")

    /// First and longest pause between two looks at a key that another process holds.
    private static let pollStart: Duration = .milliseconds(50)
    private static let pollMax: Duration = .milliseconds(500)

    init(
        router: Router,
        authenticator: (any Authenticator)?,
        store: (any IdempotencyStore)?,
        idempotencyWait: Duration
    ) {
        self.router = router
        self.authenticator = authenticator
        self.store = store
        self.idempotencyWait = idempotencyWait
    }

    /// Answers a request; whatever goes wrong becomes a problem.
    func respond(
        _ request: Request,
        _ entry: RouteEntry
    ) async -> (Response, Request.Admission?) {
        let context = request.context
        guard context.traceparent.isRecorded else { return await answer(request, entry) }
        return await withSpan(
            serving: context.traceparent,
            "\(request.method.name) \(context.route)"
        ) {
            let (response, admission) = await answer(request, entry)
            Span.current?.note(answer: response.status, to: request, admission?.principal)
            return (response, admission)
        }
    }

    /// What has nobody to ask for and no key to look up goes to its handler from here: each call
    /// that may wait costs a frame of the task's memory.
    private func answer(
        _ request: Request,
        _ entry: RouteEntry
    ) async -> (Response, Request.Admission?) {
        var request = request
        do {
            if !entry.isOpen {
                guard let authenticator = entry.authenticator ?? authenticator else {
                    throw Problem.unauthorized()
                }
                let known = authenticator.recognize(request)
                let principal =
                    if let known { known } else { try await authenticator.authenticate(request) }
                try check(principal, entry.route.access)
                request.admission = Request.Admission(principal)
            }
            try RequestChecks.check(request, entry.route)
            if let value = idempotencyKey(of: request, entry) {
                return (try await runKeyed(&request, entry, value), request.admission)
            }
            return (try await entry.route.handler(request), request.admission)
        } catch {
            return (response(error, request), request.admission)
        }
    }

    /// Answers a request of an open route that does not wait.
    func respond(
        _ request: Request,
        _ entry: RouteEntry,
        at once: Route.ImmediateHandler
    ) -> Response {
        do {
            try RequestChecks.check(request, entry.route)
            return try once(request)
        } catch {
            return response(error, request)
        }
    }

    /// The answer to an error.
    func response(_ error: any Error, _ request: Request) -> Response {
        let context = request.context
        var problem = Problem.internalError
        if let known = Problem(known: error) {
            problem = known
        } else if error is CancellationError {
            problem = .unavailable("the request was given up", code: "cancelled")
        } else {
            logger.error(
                "request failed",
                metadata: [
                    "request_id": "\(context.requestID)",
                    "trace_id": "\(context.traceparent.traceID)",
                    "route": "\(context.route)",
                    "tenant": "\(context.principal?.tenant ?? "-")",
                    "error": "\(error)",
                ]
            )
        }
        return problem.response(requestID: context.requestID, instance: request.target)
    }

    // MARK: Who asks

    private func check(_ principal: Principal, _ access: RouteAccess) throws(Problem) {
        switch access {
        case .open, .custom: break
        case .role(let role):
            guard !principal.isService else { throw .forbidden("this takes the key of a tenant") }
            try check(principal, role)
        case .roleOrService(let role):
            if !principal.isService { try check(principal, role) }
        case .service:
            guard principal.isService else { throw .forbidden("this is for services") }
        }
    }

    private func check(_ principal: Principal, _ role: Role) throws(Problem) {
        guard let own = principal.role, own >= role else {
            throw .forbidden("this takes a key of role \(role) or higher")
        }
    }

    // MARK: Did they ask before

    private func idempotencyKey(of request: Request, _ entry: RouteEntry) -> ArraySlice<UInt8>? {
        if case .none = entry.route.idempotency { return nil }
        return request.fields.valueBytes(of: IdempotencyKey.fieldName)
    }

    private func runKeyed(
        _ request: inout Request,
        _ entry: RouteEntry,
        _ value: ArraySlice<UInt8>
    ) async throws -> Response {
        let key = try IdempotencyKey.parse(value)
        request.admission = Request.Admission(
            request.context.principal,
            idempotencyKey: key,
            bodyHash: Array(SHA256.hash(data: request.body))
        )
        let keyed = IdempotentRequest(
            tenant: request.context.principal?.tenant ?? "",
            tenantID: request.context.principal?.tenantID,
            method: request.method.name,
            path: request.target,
            key: key,
            bodyHash: request.context.bodyHash
        )
        let scope = IdempotencyGate.Scope(keyed)
        switch await gate.enter(scope, wait: idempotencyWait) {
        case .busy: throw Problem.idempotencyInProgress
        case .answered(let response, let bodyHash):
            guard bodyHash == keyed.bodyHash else { throw Problem.idempotencyKeyReused }
            return response.replay
        case .turn: break
        }
        var stored: StoredResponse?
        defer { gate.leave(scope, stored.map { ($0, keyed.bodyHash) }) }
        guard case .replayed = entry.route.idempotency, let store else {
            return try await entry.route.handler(request)
        }
        let (response, kept) = try await runStored(request, keyed, entry, store)
        stored = kept
        return response
    }

    private func runStored(
        _ request: Request,
        _ keyed: IdempotentRequest,
        _ entry: RouteEntry,
        _ store: any IdempotencyStore
    ) async throws -> (Response, StoredResponse?) {
        if let first = try await begin(keyed, store) { return (first.replay, first) }
        let response: Response
        do {
            response = try await entry.route.handler(request)
        } catch let problem as Problem where problem.isFinal {
            response = self.response(problem, request)
        } catch {
            await store.abandon(keyed)
            throw error
        }
        guard case .bytes(let body) = response.body, IdempotencyKey.isFinal(response.status) else {
            await store.abandon(keyed)
            return (response, nil)
        }
        let kept = StoredResponse(
            status: response.status,
            contentType: response.contentType,
            body: body
        )
        do {
            try await store.finish(keyed, kept)
        } catch {
            // The effect has happened: the caller must hear of it, even if a repeat will not.
            logger.error(
                "an answer could not be kept for its idempotency key",
                metadata: [
                    "request_id": "\(request.context.requestID)",
                    "trace_id": "\(request.context.traceparent.traceID)", "error": "\(error)",
                ]
            )
        }
        return (response, kept)
    }

    /// The first answer, or nil when this request is the first.
    private func begin(
        _ keyed: IdempotentRequest,
        _ store: any IdempotencyStore
    ) async throws -> StoredResponse? {
        let deadline = MonotonicTime.now() + idempotencyWait
        var pause = RequestPipeline.pollStart
        while true {
            switch try await store.begin(keyed) {
            case .started: return nil
            case .replay(let response): return response
            case .reused: throw Problem.idempotencyKeyReused
            case .inProgress:
                guard MonotonicTime.now() + pause < deadline else {
                    throw Problem.idempotencyInProgress
                }
                try await EventLoop.shared.sleep(for: pause)
                pause = min(pause * 2, RequestPipeline.pollMax)
            }
        }
    }
}

extension Span {
    /// The names are those of OpenTelemetry's conventions for HTTP.
    fileprivate func note(answer status: Int, to request: Request, _ principal: Principal?) {
        note("http.request.method", .text(request.method.name))
        note("http.route", .text(request.context.route))
        note("http.response.status_code", .int(Int64(status)))
        note("request_id", .text(request.context.requestID))
        if let principal { note("tenant", .text(principal.tenant)) }
        if status >= 500 { fail("\(status)") }
    }
}

extension Problem {
    /// The problem that an error stands for; nil for one that says nothing to a client.
    init?(known error: any Error) {
        switch error {
        case let problem as Problem:
            self = problem
        case let error as JSONError:
            self = .badRequest(error.description, code: "invalid_json")
        case let errors as JSONFieldErrors:
            self = .invalid(errors.faults.map { Fault(pointer: $0.pointer, detail: $0.detail) })
        default:
            return nil
        }
    }

    static let idempotencyKeyReused = Problem(
        status: 422,
        code: "idempotency_key_reused",
        detail: "the key was used for a request with another body"
    )

    static var idempotencyInProgress: Problem {
        var problem = Problem.conflict(
            "idempotency_in_progress",
            "the first request with this key still runs"
        )
        problem.retryAfterMilliseconds = 1000
        problem.retryable = true
        return problem
    }
}
