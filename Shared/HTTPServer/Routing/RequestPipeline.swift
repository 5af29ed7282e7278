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
    private let known: HTTPServer.KnownErrors
    private let logger = Logger(label: "http")

    /// First and longest pause between two looks at a key that another process holds.
    private static let pollStart: Duration = .milliseconds(50)
    private static let pollMax: Duration = .milliseconds(500)

    init(
        router: Router,
        authenticator: (any Authenticator)?,
        store: (any IdempotencyStore)?,
        idempotencyWait: Duration,
        known: @escaping HTTPServer.KnownErrors
    ) {
        self.router = router
        self.authenticator = authenticator
        self.store = store
        self.idempotencyWait = idempotencyWait
        self.known = known
    }

    /// Answers a request; whatever goes wrong becomes a problem.
    ///
    /// Each call that may wait costs two switches of the task and a frame of its memory, in which the
    /// compiler also puts what calls that it made part of this one use for a moment. So what most
    /// requests need goes from here, and what takes room is a call of its own.
    func respond(
        _ request: Request,
        _ entry: RouteEntry
    ) async -> (Response, Request.Admission?) {
        var request = request
        do {
            let way = try way(of: &request, entry)
            guard case .straight = way else { return await respondAtLength(request, entry, way) }
            return (try await entry.route.handler(request), request.admission)
        } catch {
            return (response(error, request), request.admission)
        }
    }

    /// How a request comes to its handler.
    private enum Way {
        case straight
        /// Within a span of the trace that it belongs to.
        case recorded
        /// This one has to find out first who asks.
        case unknown(any Authenticator)
        /// With this idempotency key.
        case keyed(ArraySlice<UInt8>)
    }

    @inline(never)
    private func respondAtLength(
        _ request: Request,
        _ entry: RouteEntry,
        _ way: Way
    ) async -> (Response, Request.Admission?) {
        guard case .recorded = way else { return await answer(request, entry, way) }
        let context = request.context
        return await withSpan(
            serving: context.traceparent,
            "\(request.method.name) \(context.route)"
        ) {
            let (response, admission) = await answer(request, entry, .recorded)
            Span.current?.note(answer: response.status, to: request, admission?.principal)
            return (response, admission)
        }
    }

    private func answer(
        _ request: Request,
        _ entry: RouteEntry,
        _ way: Way
    ) async -> (Response, Request.Admission?) {
        var (request, way) = (request, way)
        do {
            if case .recorded = way { way = try self.way(of: &request, entry, isRecorded: true) }
            if case .unknown(let authenticator) = way {
                let principal = try await authenticator.authenticate(request)
                try admit(principal, to: &request, entry)
                way = try self.way(of: &request, entry, isRecorded: true)
            }
            if case .keyed(let value) = way {
                return (try await runKeyed(request, entry, value), request.admission)
            }
            return (try await entry.route.handler(request), request.admission)
        } catch {
            return (response(error, request), request.admission)
        }
    }

    /// - Parameter isRecorded: whether what the request does is within its span already, if it has one.
    @inline(never)
    private func way(
        of request: inout Request,
        _ entry: RouteEntry,
        isRecorded: Bool = false
    ) throws -> Way {
        if !isRecorded, request.message.traceparent.isRecorded { return .recorded }
        if !entry.isOpen, request.admission == nil {
            guard let authenticator = entry.authenticator ?? authenticator else {
                throw Problem.unauthorized()
            }
            guard let principal = authenticator.recognize(request) else {
                return .unknown(authenticator)
            }
            try admit(principal, to: &request, entry)
        }
        try RequestChecks.check(request, entry)
        return idempotencyKey(of: request, entry).map(Way.keyed) ?? .straight
    }

    /// Answers a request of an open route that does not wait.
    func respond(
        _ request: Request,
        _ entry: RouteEntry,
        at once: Route.ImmediateHandler
    ) -> Response {
        do {
            try RequestChecks.check(request, entry)
            return try once(request)
        } catch {
            return response(error, request)
        }
    }

    /// The answer to an error.
    @inline(never)
    func response(_ error: any Error, _ request: Request) -> Response {
        let context = request.context
        var problem = Problem.internalError
        if let known = known(error) {
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

    private func admit(
        _ principal: Principal,
        to request: inout Request,
        _ entry: RouteEntry
    ) throws(Problem) {
        switch entry.route.access {
        case .open, .custom: break
        case .role(let role):
            guard !principal.isService else { throw .forbidden("this takes the key of a tenant") }
            try check(principal, role)
        case .roleOrService(let role):
            if !principal.isService { try check(principal, role) }
        case .service:
            guard principal.isService else { throw .forbidden("this is for services") }
        }
        request.admission = Request.Admission(principal)
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

    @inline(never)
    private func runKeyed(
        _ request: Request,
        _ entry: RouteEntry,
        _ value: ArraySlice<UInt8>
    ) async throws -> Response {
        var request = request
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
        } catch {
            guard let problem = known(error), problem.isFinal else {
                await store.abandon(keyed)
                throw error
            }
            response = self.response(problem, request)
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
    /// The problem that an error of this module or of JSON stands for; nil for any other.
    public init?(known error: any Error) {
        switch error {
        case let problem as Problem:
            self = problem
        case let error as JSONError:
            self = .badRequest("the body is not JSON: \(error)", code: "invalid_json")
        case let errors as JSONFieldErrors:
            self = .invalid(errors.faults.map { Fault(pointer: $0.pointer, detail: $0.detail) })
        default:
            return nil
        }
    }

    /// The key was used for something else: 422.
    public static let idempotencyKeyReused = Problem(
        status: 422,
        code: "idempotency_key_reused",
        detail: "the key was used for a request with another body"
    )

    /// The first request with the key has not ended: 409, to be asked again in a second.
    public static var idempotencyInProgress: Problem {
        var problem = Problem.conflict(
            "idempotency_in_progress",
            "the first request with this key still runs"
        )
        problem.retryAfterMilliseconds = 1000
        problem.retryable = true
        return problem
    }
}
