import EventLoop
import HTTPServer
import JSON

/// A fault that was ordered.
struct StandInFault {
    enum Kind: String, CaseIterable {
        case resetBeforeReading = "reset_before_reading"
        case resetBeforeAcceptance = "reset_before_acceptance"
        case resetAfterAcceptance = "reset_after_acceptance"
        case serverError = "5xx"
        case hang, html, slow
        case cut = "cut_json"
        case rateLimited = "ratelimited"
        case error
        /// Takes a request of a connection that had one before, then closes without an answer.
        case secondRequest = "second_request"
    }

    let kind: Kind
    var left: Int
    let method: String
    /// Whether the message is taken before the fault.
    let accepts: Bool
    let delay: Duration
    let retryAfter: Int64
    let code: String
}

/// The workspace: tokens, channels, messages, faults.
@LoopActor
final class StandInWorkspace {
    private var messages: [StandInMessage] = []
    /// What people wrote: threads may begin there, and no method of ours did it.
    private var written: [StandInMessage] = []
    private var faults: [StandInFault] = []
    private var perChannel: Duration?
    private var lastPost: [String: MonotonicTime] = [:]
    private var clock = 0
    /// Requests of each method, faults included.
    private var calls: [String: Int] = [:]
    /// Tokens that worked before.
    private var revoked: Set<String> = []
    private var hooks: [JSON] = []
    private var chaos: StandInChaos?
    private var watch = StandInWatch()

    nonisolated init() {}

    /// Whether the next connection is to be reset before anything is read from it.
    func takeResetBeforeReading() -> Bool {
        take { $0.kind == .resetBeforeReading } != nil
    }

    private func take(_ matches: (StandInFault) -> Bool) -> StandInFault? {
        guard let index = faults.firstIndex(where: matches) else { return nil }
        let fault = faults[index]
        faults[index].left -= 1
        if faults[index].left <= 0 { faults.remove(at: index) }
        return fault
    }

    func respond(to request: StandInRequest) -> StandInReaction {
        switch request.path {
        case "/healthz": return .answer(.json(["status": "ok"]))
        case "/_control": return .answer(control(request))
        case "/_deliveries": return .answer(deliveries(request))
        case "/_hooks": return .answer(.json(["items": .array(hooks)]))
        default: break
        }
        if request.path.hasPrefix("/hook/") { return hook(request) }
        guard request.path.hasPrefix("/api/") else {
            return .answer(StandInAnswer(status: 404, contentType: "text/html", body: []))
        }
        let method = String(request.path.dropFirst(5))
        calls[method, default: 0] += 1
        if method == "chat.postMessage" { watch.note(request) }
        let fault =
            take {
                $0.method == method && $0.kind != .resetBeforeReading
                    && ($0.kind != .secondRequest || request.numberOnConnection > 1)
            } ?? (method == "chat.postMessage" ? chaos?.fault() : nil)
        guard let fault else { return .answer(call(method, request)) }
        return react(fault, method, request)
    }

    /// An endpoint of somebody's own: keeps what it gets with what proves whose it is.
    ///
    /// A fault is of all of them (`hook`) or of one, by its path.
    private func hook(_ request: StandInRequest) -> StandInReaction {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        let fault = take { $0.method == "hook" || $0.method == request.path }
        hooks.append([
            "path": .string(request.path),
            "body": .string(String(decoding: request.body, as: UTF8.self)),
            "fields": .object(JSONObject(names.map { ($0, JSON(request.fields[$0])) })),
            "refused": .bool(fault != nil),
        ])
        let answer = StandInAnswer.json(["ts": .string("hook.\(hooks.count)")])
        guard let fault else { return .answer(answer) }
        switch fault.kind {
        case .serverError: return .answer(StandInAnswer(status: 503, body: Array("{}".utf8)))
        case .hang: return .hang
        default: return .reset
        }
    }

    private func react(
        _ fault: StandInFault,
        _ method: String,
        _ request: StandInRequest
    ) -> StandInReaction {
        let accepting: Set<StandInFault.Kind> = [
            .resetAfterAcceptance, .slow, .cut, .secondRequest,
        ]
        var answer = StandInAnswer.refusal(fault.code)
        if fault.accepts || accepting.contains(fault.kind) { answer = call(method, request) }
        switch fault.kind {
        case .resetBeforeReading, .resetBeforeAcceptance, .resetAfterAcceptance: return .reset
        case .serverError: return .answer(StandInAnswer(status: 503, body: Array("{}".utf8)))
        case .hang: return .hang
        case .html:
            let page = Array("<html><body>Something is wrong</body></html>".utf8)
            return .answer(StandInAnswer(status: 200, contentType: "text/html", body: page))
        case .slow: return .later(answer, fault.delay)
        case .cut: return .cut(answer)
        case .rateLimited:
            watch.limited(request, seconds: fault.retryAfter)
            return .answer(limited(fault.retryAfter))
        case .error: return .answer(.refusal(fault.code))
        case .secondRequest: return .close
        }
    }

    private func limited(_ seconds: Int64) -> StandInAnswer {
        var answer = StandInAnswer.refusal("ratelimited")
        answer.status = 429
        answer.fields = [("Retry-After", "\(seconds)")]
        return answer
    }

    // MARK: Control

    private func control(_ request: StandInRequest) -> StandInAnswer {
        guard let order = try? JSON(parsing: request.body), request.method == "POST" else {
            return .json(["error": "expected a JSON object"], status: 400)
        }
        if order["reset"] == true {
            (messages, faults, lastPost, calls, perChannel) = ([], [], [:], [:], nil)
            (revoked, chaos, watch, hooks, written) = ([], nil, StandInWatch(), [], [])
        }
        if let token = order["revoke"]?.stringValue { revoked.insert(token) }
        if let token = order["reinstate"]?.stringValue { revoked.remove(token) }
        if let message = order["message"] { written.append(StandInMessage(writtenBy: message)) }
        if order["forgive"] == true { watch.forgive() }
        if let parts = order["chaos"] { chaos = StandInChaos(parts) }
        if let pause = order["per_channel_ms"]?.intValue { perChannel = .milliseconds(pause) }
        if let name = order["fault"]?.stringValue {
            guard let kind = StandInFault.Kind(rawValue: name) else {
                return .json(
                    [
                        "error": "unknown fault",
                        "known": JSON(StandInFault.Kind.allCases.map(\.rawValue)),
                    ],
                    status: 400
                )
            }
            faults.append(
                StandInFault(
                    kind: kind,
                    left: Int(order["count"]?.intValue ?? 1),
                    method: order["method"]?.stringValue ?? "chat.postMessage",
                    accepts: order["accept"] == true,
                    delay: .milliseconds(order["delay_ms"]?.intValue ?? 1000),
                    retryAfter: order["retry_after"]?.intValue ?? 1,
                    code: order["code"]?.stringValue ?? "internal_error"
                )
            )
        }
        return .json(["ok": true, "faults": .int(Int64(faults.count))])
    }

    private func deliveries(_ request: StandInRequest) -> StandInAnswer {
        if request.method == "DELETE" { messages = [] }
        let counts = JSONObject(
            calls.sorted { $0.key < $1.key }.map { ($0.key, .int(Int64($0.value))) }
        )
        return .json([
            "count": .int(Int64(messages.count)), "calls": .object(counts),
            "violations": JSON(watch.violations),
            "deliveries": .array(messages.map { $0.document(withMetadata: true) }),
        ])
    }

    // MARK: Methods

    private func call(_ method: String, _ request: StandInRequest) -> StandInAnswer {
        do {
            let arguments = try request.arguments().get()
            let token = try StandInContract.token(request, arguments)
            if revoked.contains(token) { throw StandInRefusal("token_revoked") }
            var answer: JSONObject
            switch method {
            case "auth.test": answer = StandInContract.identity(token)
            case "chat.postMessage":
                guard request.method == "POST" else { throw StandInRefusal("invalid_post_type") }
                let channel = try StandInContract.channel(arguments)
                if let wait = limit(channel) {
                    watch.limited(request, seconds: wait)
                    return limited(wait)
                }
                answer = try post(channel, arguments, token)
            case "conversations.history":
                answer = try StandInContract.history(arguments, messages)
            case "conversations.replies":
                answer = try StandInContract.replies(arguments, written + messages)
            default: throw StandInRefusal("unknown_method")
            }
            if request.isJSON, !request.contentType.contains("charset=") {
                answer["warning"] = "missing_charset"
                answer["response_metadata"] = ["warnings": ["missing_charset"]]
            }
            return .json(.object(answer))
        } catch {
            return .refusal((error as? StandInRefusal)?.code ?? "fatal_error")
        }
    }

    /// Seconds to wait when the channel is written to faster than it was set.
    private func limit(_ channel: String) -> Int64? {
        guard let perChannel else { return nil }
        let now = MonotonicTime.now()
        if let last = lastPost[channel], now - last < perChannel {
            return max(1, (perChannel.milliseconds + 999) / 1000)
        }
        lastPost[channel] = now
        return nil
    }

    private func post(
        _ channel: String,
        _ arguments: [String: JSON],
        _ token: String
    ) throws -> JSONObject {
        clock += 1
        let fraction = String(String(1_000_000 + clock).dropFirst())
        var message = try StandInContract.message(
            arguments,
            channel: channel,
            ts: "\(WallClock.milliseconds() / 1000).\(fraction)",
            known: written + messages
        )
        message.team = StandInContract.team(of: token)
        messages.append(message)
        return [
            "ok": true, "channel": .string(channel), "ts": .string(message.ts),
            "message": message.document(withMetadata: true),
        ]
    }
}
