internal import Coordination
public import EventLoop
internal import FaultPoints
internal import FoundationEssentials
public import HTTPClient
public import HTTPServer
public import JSON
public import Outbox
internal import Tracing

/// What one of our services answered.
public struct ServiceAnswer: Sendable {
    /// The status.
    public let status: Int
    /// The document; null when there was none or it was not JSON.
    public let body: JSON
    /// How long the callee asks to wait.
    public let retryAfter: Duration?
}

/// Calls the other services over JSON, for a tenant, with everything that our contract asks for.
@LoopActor
public final class ServiceClient: OutboxCaller {
    private let http: HTTPClient
    private let token: Secret
    private let urls: [String: String]

    /// - Parameter urls: base URLs by the services' names.
    public init(http: HTTPClient, configuration: ServiceConfiguration) {
        self.http = http
        token = configuration.serviceToken
        urls = [
            "messaging": configuration.messagingURL,
            "assignment-engine": configuration.assignmentEngineURL,
            "dispatch-worker": configuration.dispatchWorkerURL,
        ]
    }

    /// Sends `body` to a service and waits for its answer.
    ///
    /// - Parameters:
    ///   - idempotencyKey: lets the call be repeated; calls between our services always carry one.
    ///   - trace: the request id and traceparent of the request that this call serves.
    /// - Throws: `HTTPClientError` when there was no answer.
    public func post(
        _ service: String,
        _ path: String,
        tenant: String,
        body: [UInt8],
        idempotencyKey: String,
        trace: [(String, String)] = [],
        timeout: Duration = .seconds(10)
    ) async throws(HTTPClientError) -> ServiceAnswer {
        guard let base = urls[service] else {
            preconditionFailure("there is no service called \(service)")
        }
        var request = OutgoingRequest(
            .post,
            base + path,
            fields: [
                ("Content-Type", "application/json"),
                ("Authorization", "Bearer \(token.reveal())"),
                (KeyAuthenticator.tenantField, tenant),
                ("Idempotency-Key", idempotencyKey),
            ] + trace,
            body: body
        )
        request.totalTimeout = timeout
        request.firstByteTimeout = timeout
        let response = try await answer(request, of: service, path)
        let retry = response.field("Retry-After").flatMap(Int.init).map(Duration.seconds)
        let document = (try? JSON(parsing: response.body)) ?? .null
        return ServiceAnswer(status: response.status, body: document, retryAfter: retry)
    }

    /// The call is a step of its own, below which the callee's steps stand.
    private func answer(
        _ request: OutgoingRequest,
        of service: String,
        _ path: String
    ) async throws(HTTPClientError) -> IncomingResponse {
        let outcome = await withSpan("service.call", .client) {
            () async -> Result<IncomingResponse, HTTPClientError> in
            var request = request
            if let step = Span.current {
                request.fields.removeAll { $0.name == "traceparent" }
                request.fields.append(("traceparent", step.place.description))
                step.note("peer.service", .text(service))
                step.note("url.path", .text(path))
            }
            do throws(HTTPClientError) {
                let response = try await http.send(request)
                Span.current?.note("http.response.status_code", .int(Int64(response.status)))
                if response.status >= 500 { Span.current?.fail("\(response.status)") }
                return .success(response)
            } catch {
                Span.current?.fail("\(error.code)")
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    /// Delivers an outbox row: its event id is the idempotency key at every attempt.
    public func call(_ row: OutboxRow) async -> CallOutcome {
        do {
            try await FaultPoints.reached("outbox.before_call")
            let trace = row.traceparent.flatMap { TraceParent(text: $0) }
            let answer = try await withSpan("outbox.deliver", .consumer, below: trace) {
                try await post(
                    row.target,
                    row.path,
                    tenant: row.tenant,
                    body: Array(row.payload.utf8),
                    idempotencyKey: row.eventID.text
                )
            }
            return ServiceClient.outcome(of: answer)
        } catch {
            return .unreachable("\(error)")
        }
    }

    /// 409 in progress, limits and our own failures go away; any other refusal is a fault of ours.
    nonisolated static func outcome(of answer: ServiceAnswer) -> CallOutcome {
        let code = answer.body["code"]?.stringValue ?? ""
        switch answer.status {
        case 200..<300: return .delivered
        // Not ready, or somebody in front of it says that it is away.
        case 502...504: return .unreachable("\(answer.status) \(code)")
        case 401, 403, 408, 425, 429, 500...: return .later("\(answer.status) \(code)")
        case 409 where code == "idempotency_in_progress": return .later(code)
        default: return .refused("\(answer.status) \(code)")
        }
    }
}

extension ServiceClient {
    /// The fields that carry a request's identity on to what it calls.
    public static func trace(of request: Request) -> [(String, String)] {
        [
            ("X-Request-Id", request.context.requestID),
            ("traceparent", request.context.traceparent.description),
        ]
    }
}
