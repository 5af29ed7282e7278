internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPClient
internal import JSON
internal import Platform
internal import Tracing

/// Posts messages to an endpoint of the tenant's own: the workspace's `api_base_url`, signed with its
/// `token` as ``WebhookSignature`` says.
@LoopActor
final class WebhookTransport: ChannelTransport {
    private let http: HTTPClient
    private let allowedHosts: AllowedHosts

    private let sendTimeout: Duration

    /// - Parameter sendTimeout: as that of ``SlackApiService``.
    init(http: HTTPClient, allowedHosts: AllowedHosts, sendTimeout: Duration) {
        self.sendTimeout = sendTimeout
        self.http = http
        self.allowedHosts = allowedHosts
    }

    func send(_ message: ResolvedMessage, token: Secret?) async -> SendReport {
        guard let token, let url = message.channel.baseURL else {
            return SendReport(outcome: .workspaceRefused(reason: "no_url_or_token"))
        }
        let body = WebhookTransport.body(of: message).serialized()
        var request = OutgoingRequest(
            .post,
            url,
            fields: WebhookSignature.fields(
                id: WebhookTransport.id(of: message.job),
                body: body,
                secret: token,
                seconds: WallClock.milliseconds() / 1000
            ),
            body: body
        )
        if let step = Span.current {
            request.fields.append(("traceparent", step.place.description))
        }
        // Nobody can ask an endpoint what it got.
        request.delivery = .onceAlone
        request.totalTimeout = sendTimeout
        request.destination = .guarded(allowHosts: allowedHosts)
        do {
            let response = try await http.send(request)
            return WebhookTransport.classify(
                status: response.status,
                retryAfter: response.field("Retry-After"),
                body: response.body,
                job: message.job
            )
        } catch {
            return SlackOutcome.classify(error)
        }
    }

    /// The same at every attempt of a generation: the endpoint recognises a repeat by it.
    nonisolated static func id(of job: MessageReference) -> String { job.mark }

    nonisolated static func body(of message: ResolvedMessage) -> JSON {
        [
            "id": .string(id(of: message.job)), "tenant": .string(message.job.tenant),
            "channel": .string(message.channel.providerChannelID),
            "text": JSON(message.content.text), "blocks": message.content.blocks ?? .null,
            "thread_ts": JSON(message.content.threadTS),
        ]
    }

    /// The meaning of an answer: 2xx has it, under the answer's `ts` if it names one.
    nonisolated static func classify(
        status: Int,
        retryAfter: String?,
        body: [UInt8],
        job: MessageReference
    ) -> SendReport {
        let reason = "http_\(status)"
        let outcome: SendOutcome
        switch status {
        case 200..<300:
            let answer = try? JSON(parsing: body, limits: .foreign)
            outcome = .sent(providerTS: answer?["ts"]?.stringValue ?? id(of: job))
        case 401, 403: outcome = .workspaceRefused(reason: reason)
        case 429: outcome = SlackOutcome.limited(retryAfter, reason)
        case 500...: outcome = .unknown(reason: reason)
        default: outcome = .failed(reason: reason)
        }
        var report = SendReport(outcome: outcome, httpStatus: status)
        if case .workspaceRefused = outcome { report.attention = .workspaceRefused }
        return report
    }

    func look(_ message: ResolvedMessage, token: Secret?, since: Int64) async -> Sightings {
        .impossible(reason: "an_endpoint_cannot_be_asked")
    }
}
