internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPClient
internal import JSON

/// Slack's Web API: posts messages, and finds those of which nobody knows.
///
/// Every message carries the id of its request in its metadata; Slack has no other way to recognise
/// one that was sent before.
@LoopActor
final class SlackApiService: ChannelTransport {
    /// The type of our metadata in a message.
    nonisolated static let eventType = "switchboard_message_request"
    /// Messages that one page of history holds, and how many pages a look reads.
    nonisolated static let historyPageLimit = 200
    nonisolated static let historyPagesLimit = 10
    /// A clock that is late must not hide a message from a look.
    nonisolated static let clockSlackSeconds: Int64 = 5

    private let http: HTTPClient
    private let baseURL: String
    private let allowedHosts: AllowedHosts

    init(http: HTTPClient, baseURL: String, allowedHosts: AllowedHosts) {
        self.http = http
        self.baseURL = baseURL
        self.allowedHosts = allowedHosts
    }

    /// Posts the message on a connection of its own; it is never sent again by the client.
    func send(_ message: ResolvedMessage, token: Secret?) async -> SendReport {
        guard let token else {
            return SendReport(outcome: .workspaceRefused(reason: "no_token"))
        }
        var request = request(.post, "chat.postMessage", message, token)
        request.fields.append(("Content-Type", "application/json; charset=utf-8"))
        request.body = SlackApiService.body(of: message).serialized()
        request.delivery = .once
        do {
            let response = try await http.send(request)
            return SlackOutcome.classify(
                status: response.status,
                retryAfter: response.field("Retry-After"),
                body: response.body
            )
        } catch {
            return SlackOutcome.classify(error)
        }
    }

    /// The arguments of `chat.postMessage`.
    nonisolated static func body(of message: ResolvedMessage) -> JSON {
        var body: JSONObject = ["channel": .string(message.channel.providerChannelID)]
        if let text = message.content.text { body["text"] = .string(text) }
        if let blocks = message.content.blocks { body["blocks"] = blocks }
        if let thread = message.content.threadTS { body["thread_ts"] = .string(thread) }
        body["metadata"] = [
            "event_type": .string(eventType),
            "event_payload": [
                "mr_id": .string(message.job.messageRequestID.text),
                "generation": .int(Int64(message.job.generation)),
            ],
        ]
        return .object(body)
    }

    /// Reads the channel's history, or the thread's, for our metadata.
    func find(_ message: ResolvedMessage, token: Secret?, since: Int64) async -> Finding {
        guard let token else { return .impossible(reason: "no_token") }
        var cursor: String?
        for _ in 0..<SlackApiService.historyPagesLimit {
            let path = SlackApiService.historyPath(message, since: since, cursor: cursor)
            let answer: JSON
            switch await read(request(.get, path, message, token)) {
            case .success(let document): answer = document
            case .failure(let failure): return failure.finding
            }
            if let ts = SlackApiService.ts(of: message.job, in: answer) {
                return .found(providerTS: ts)
            }
            cursor = answer["response_metadata"]?["next_cursor"]?.stringValue
            if answer["has_more"] != true || (cursor ?? "").isEmpty { return .absent }
        }
        return .impossible(reason: "history_too_long")
    }

    private func read(_ request: OutgoingRequest) async -> Result<JSON, NoPage> {
        do {
            let response = try await http.send(request)
            return SlackApiService.page(status: response.status, body: response.body)
        } catch {
            return .failure(NoPage(.later(reason: "http_client_\(error.code)")))
        }
    }

    private func request(
        _ method: OutgoingRequest.Method,
        _ path: String,
        _ message: ResolvedMessage,
        _ token: Secret
    ) -> OutgoingRequest {
        let base = message.channel.baseURL ?? baseURL
        let separator = base.hasSuffix("/") ? "" : "/"
        var request = OutgoingRequest(
            method,
            base + separator + path,
            fields: [("Authorization", "Bearer \(token.reveal())")]
        )
        request.destination = .guarded(allowHosts: allowedHosts)
        return request
    }
}
