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
    private let sendTimeout: Duration

    /// - Parameter sendTimeout: the longest time that a post may take, its last byte included; with
    ///   what passes before its first one it must be over before the lease is.
    init(
        http: HTTPClient,
        baseURL: String,
        allowedHosts: AllowedHosts,
        sendTimeout: Duration
    ) {
        self.sendTimeout = sendTimeout
        self.http = http
        self.baseURL = baseURL
        self.allowedHosts = allowedHosts
    }

    /// Posts the message; the client never sends it again by itself.
    func send(_ message: ResolvedMessage, token: Secret?) async -> SendReport {
        guard let token else {
            return SendReport(outcome: .workspaceRefused(reason: "no_token"))
        }
        var request = request(.post, "chat.postMessage", message, token)
        request.fields.append(("Content-Type", "application/json; charset=utf-8"))
        request.body = SlackApiService.body(of: message).serialized()
        request.delivery = .once
        request.totalTimeout = sendTimeout
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
    func look(_ message: ResolvedMessage, token: Secret?, since: Int64) async -> Sightings {
        guard let token else { return .later(reason: "no_token") }
        var cursor: String?
        var marks: [String: String] = [:]
        for _ in 0..<SlackApiService.historyPagesLimit {
            let path = SlackApiService.historyPath(message, since: since, cursor: cursor)
            let answer: JSON
            switch await read(request(.get, path, message, token)) {
            case .success(let document): answer = document
            case .failure(let failure): return failure.sightings
            }
            marks.merge(SlackApiService.marks(in: answer)) { first, _ in first }
            cursor = answer["response_metadata"]?["next_cursor"]?.stringValue
            if answer["has_more"] != true || (cursor ?? "").isEmpty {
                return .seen(marks)
            }
        }
        // What was seen is there; of anything else it cannot be said that it is not.
        return marks[message.job.mark] == nil
            ? .impossible(reason: "history_too_long") : .seen(marks)
    }

    /// Whose a token is.
    enum Identity: Sendable, Hashable {
        case known(teamID: String)
        /// Slack does not take it.
        case refused(code: String)
        /// Slack was not reached, or said nothing that can be understood.
        case unreachable(reason: String)
    }

    /// Whether what answers at `url` is the Slack of this installation, and no one's own server.
    func isSlack(_ url: String?) -> Bool { url.map { $0 == baseURL } ?? true }

    /// Asks `auth.test` whose `token` is.
    ///
    /// - Parameter baseURL: who is asked; nil for the Slack of this installation, whose word alone
    ///   proves anything.
    func identify(_ token: Secret, baseURL: String? = nil) async -> Identity {
        var request = call(.post, "auth.test", base: baseURL, token)
        request.body = []
        do {
            let response = try await http.send(request)
            return SlackApiService.identity(status: response.status, body: response.body)
        } catch {
            return .unreachable(reason: "\(error.code)")
        }
    }

    /// What an answer of `auth.test` means.
    nonisolated static func identity(status: Int, body: [UInt8]) -> Identity {
        guard status == 200, let answer = try? JSON(parsing: body, limits: .foreign) else {
            return .unreachable(reason: "http_\(status)")
        }
        if answer["ok"] == true, let team = answer["team_id"]?.stringValue {
            return .known(teamID: team)
        }
        let code = answer["error"]?.stringValue ?? "answer_without_error"
        return SlackOutcome.workspace.contains(code)
            ? .refused(code: code) : .unreachable(reason: code)
    }

    private func read(_ request: OutgoingRequest) async -> Result<JSON, NoPage> {
        do {
            let response = try await http.send(request)
            if response.status == 429 {
                let wait = SlackOutcome.wait(response.field("Retry-After"))
                return .failure(NoPage(.limited(wait: wait)))
            }
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
        call(method, path, base: message.channel.baseURL, token)
    }

    private func call(
        _ method: OutgoingRequest.Method,
        _ path: String,
        base: String?,
        _ token: Secret
    ) -> OutgoingRequest {
        let base = base ?? baseURL
        let separator = base.hasSuffix("/") ? "" : "/"
        var request = OutgoingRequest(
            method,
            base + separator + path,
            fields: [
                ("Authorization", "Bearer \(token.reveal())"), ("User-Agent", "switchboard"),
            ]
        )
        request.destination = .guarded(allowHosts: allowedHosts)
        return request
    }
}
