internal import Coordination
internal import EventLoop
internal import HTTPClient
internal import JSON

/// Any endpoint that speaks OpenAI's chat completions.
@LoopActor
final class OpenAIProvider: AIProvider {
    /// The model that is asked for when the configuration names none.
    nonisolated static let defaultModel = "gpt-4o-mini"
    /// A longer pause than this is not waited for.
    nonisolated static let longestWait: Duration = .seconds(120)

    private let http: HTTPClient
    private let allowedHosts: AllowedHosts

    /// - Parameter allowedHosts: hosts beyond the public ones that may be called.
    init(http: HTTPClient, allowedHosts: AllowedHosts) {
        self.http = http
        self.allowedHosts = allowedHosts
    }

    func answer(_ request: AIRequest) async throws(AIProviderError) -> AIAnswer {
        guard !request.core.authRequired || request.core.token != nil else {
            throw AIProviderError(isFinal: true, description: "the core AI has no token")
        }
        var outgoing = OutgoingRequest(
            .post,
            request.core.endpoint,
            fields: OpenAIProvider.fields(request),
            body: OpenAIProvider.body(request)
        )
        outgoing.firstByteTimeout = min(.seconds(30), request.core.timeout)
        outgoing.totalTimeout = request.core.timeout
        outgoing.destination = .guarded(allowHosts: allowedHosts)
        let response: IncomingResponse
        do {
            response = try await http.send(outgoing)
        } catch {
            let isFinal: Bool
            switch error.code {
            case .badURL, .badHeader, .refusedAddress: isFinal = true
            default: isFinal = false
            }
            throw AIProviderError(isFinal: isFinal, description: error.message)
        }
        return try OpenAIProvider.read(response)
    }

    private nonisolated static func fields(_ request: AIRequest) -> [(String, String)] {
        var fields = [
            ("Content-Type", "application/json"), ("Accept", "application/json"),
            ("X-Request-Id", request.jobID),
        ]
        if request.core.authRequired, let token = request.core.token {
            fields.append(("Authorization", "Bearer \(token.reveal())"))
        }
        return fields
    }

    /// The request's document.
    nonisolated static func body(_ request: AIRequest) -> [UInt8] {
        let turns = request.turns.map { turn -> JSON in
            ["role": .string(turn.role.rawValue), "content": .string(turn.content)]
        }
        let document: JSON = [
            "model": .string(request.core.model ?? defaultModel), "messages": .array(turns),
            "n": 1, "stream": false,
        ]
        return document.serialized()
    }

    /// Reads an answer; only `choices` is relied upon.
    nonisolated static func read(
        _ response: IncomingResponse
    ) throws(AIProviderError) -> AIAnswer {
        let document = try? JSON(parsing: response.body, limits: .foreign)
        guard (200..<300).contains(response.status) else {
            let code = document?["error"]?["code"]?.stringValue
            throw failure(response, code: code, now: WallClock.milliseconds())
        }
        let choice = document?["choices"]?.arrayValue?.first
        let tokens = document?["usage"]?["total_tokens"]?.intValue.map(Int.init)
        let answer = (choice?["message"]?["content"]?.stringValue)
            .map { AIAnswer(text: $0, tokens: tokens) }
        guard let answer, AnswerText.isSeen(answer.text) else {
            // A refusal, a filter, nothing that can be seen, or no chat completion at all.
            let reason = choice?["finish_reason"]?.stringValue ?? "no content"
            throw AIProviderError(isFinal: false, description: "no answer: \(reason)")
        }
        return answer
    }

    nonisolated static func failure(
        _ response: IncomingResponse,
        code: String?,
        now: Int64
    ) -> AIProviderError {
        let status = response.status
        let mayPass = [408, 409, 429].contains(status) || status >= 500
        let refused = response.field("x-should-retry")?.lowercased() == "false"
        let wait = pause(response, now: now)
        let isFinal =
            !mayPass || refused || code == "insufficient_quota"
            || (wait ?? .zero) > longestWait
        // A code is a word of the API; anything longer is somebody else's text.
        let known = code.flatMap { $0.utf8.count <= 64 ? $0 : nil }
        return AIProviderError(
            isFinal: isFinal,
            description: "status \(status)\(known.map { " \($0)" } ?? "")",
            retryAfter: wait
        )
    }

    /// How long the other side asks to wait: `retry-after-ms`, else `retry-after` in seconds or as a
    /// date.
    private nonisolated static func pause(_ response: IncomingResponse, now: Int64) -> Duration? {
        if let text = response.field("retry-after-ms"), let value = Double(text), value >= 0 {
            return .milliseconds(min(value, 1e12))
        }
        guard let text = response.field("retry-after") else { return nil }
        if let value = Double(text), value >= 0 { return .seconds(min(value, 1e9)) }
        return RetryDate.milliseconds(text).map { .milliseconds(max(0, $0 - now)) }
    }
}

/// The date form of `Retry-After` (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
enum RetryDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// Milliseconds since 1970; `nil` for any other text.
    static func milliseconds(_ text: String) -> Int64? {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[0].hasSuffix(","), parts[5] == "GMT",
            let month = months.firstIndex(of: String(parts[2]))
        else { return nil }
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return RFC3339.parse("\(parts[3])-\(two(month + 1))-\(parts[1])T\(parts[4])Z")
    }
}
