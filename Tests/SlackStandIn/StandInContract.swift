import JSON

/// A message that was accepted.
struct StandInMessage {
    let channel: String
    let ts: String
    let text: String?
    let blocks: JSON?
    let threadTS: String?
    let metadata: JSON?
    /// Whose token posted it.
    var team: String?

    init(
        channel: String,
        ts: String,
        text: String?,
        blocks: JSON?,
        threadTS: String?,
        metadata: JSON?
    ) {
        self.channel = channel
        self.ts = ts
        self.text = text
        self.blocks = blocks
        self.threadTS = threadTS
        self.metadata = metadata
    }

    /// What a person wrote: `channel` and `ts` name it, `text` and `thread_ts` may be missing.
    init(writtenBy document: JSON) {
        self.init(
            channel: document["channel"]?.stringValue ?? "",
            ts: document["ts"]?.stringValue ?? "",
            text: document["text"]?.stringValue,
            blocks: nil,
            threadTS: document["thread_ts"]?.stringValue,
            metadata: nil
        )
    }

    func document(withMetadata: Bool) -> JSON {
        var document: JSONObject = [
            "type": "message", "channel": .string(channel), "ts": .string(ts),
            "text": .string(text ?? ""), "bot_id": "B0STANDIN",
        ]
        if let team { document["team"] = .string(team) }
        if let blocks { document["blocks"] = blocks }
        if let threadTS { document["thread_ts"] = .string(threadTS) }
        if withMetadata, let metadata { document["metadata"] = metadata }
        return .object(document)
    }
}

/// What Slack checks, in its own codes.
enum StandInContract {
    /// The token of the request; `xoxb-revoked…` and `xoxb-noscope…` are refused as they say.
    static func token(_ request: StandInRequest, _ arguments: [String: JSON]) throws -> String {
        if request.query["token"] != nil { throw StandInRefusal("invalid_auth") }
        var token = request.isJSON ? nil : arguments["token"]?.stringValue
        if let field = request.authorization, field.hasPrefix("Bearer ") {
            token = String(field.dropFirst(7))
        }
        guard let token else { throw StandInRefusal("not_authed") }
        guard token.hasPrefix("xoxb-"), token.utf8.count > 5 else {
            throw StandInRefusal("invalid_auth")
        }
        if token.hasPrefix("xoxb-revoked") { throw StandInRefusal("token_revoked") }
        if token.hasPrefix("xoxb-noscope") { throw StandInRefusal("missing_scope") }
        return token
    }

    /// `xoxb-team-T123` belongs to the team T123, any other token to the stand-in's own.
    static func team(of token: String) -> String {
        let parts = token.split(separator: "-")
        return parts.count == 3 && parts[1] == "team" ? String(parts[2]) : "T0STANDIN"
    }

    static func identity(_ token: String) -> JSONObject {
        [
            "ok": true, "url": "https://standin.slack.com/", "team": "Stand-in",
            "team_id": .string(team(of: token)), "user": "switchboard", "user_id": "U0STANDIN",
            "bot_id": "B0STANDIN",
        ]
    }

    /// An id of a channel; names are not taken.
    static func channel(_ arguments: [String: JSON]) throws -> String {
        guard let channel = arguments["channel"]?.stringValue, let first = channel.utf8.first,
            [0x43, 0x47, 0x44].contains(first), channel.utf8.count > 1,
            channel.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) })
        else { throw StandInRefusal("channel_not_found") }
        if channel == "CARCHIVED" { throw StandInRefusal("is_archived") }
        if channel == "CNOTIN" { throw StandInRefusal("not_in_channel") }
        return channel
    }

    static func message(
        _ arguments: [String: JSON],
        channel: String,
        ts: String,
        known: [StandInMessage]
    ) throws -> StandInMessage {
        let text = arguments["text"]?.stringValue
        let blocks = try structured(arguments["blocks"], or: "invalid_blocks_format")
        guard text?.isEmpty == false || blocks != nil else { throw StandInRefusal("no_text") }
        if (text ?? "").unicodeScalars.count > 40_000 { throw StandInRefusal("msg_too_long") }
        if let blocks {
            guard let list = blocks.arrayValue, list.count <= 50,
                list.allSatisfy({ $0["type"]?.stringValue != nil })
            else { throw StandInRefusal("invalid_blocks") }
        }
        let metadata = try structured(arguments["metadata"], or: "invalid_metadata_format")
        if let metadata {
            guard metadata["event_type"]?.stringValue != nil,
                metadata["event_payload"]?.objectValue != nil
            else { throw StandInRefusal("invalid_metadata_schema") }
        }
        let thread = arguments["thread_ts"]?.stringValue
        if let thread {
            guard known.contains(where: { $0.channel == channel && $0.ts == thread }) else {
                throw StandInRefusal("thread_not_found")
            }
        }
        return StandInMessage(
            channel: channel,
            ts: ts,
            text: text,
            blocks: blocks,
            threadTS: thread,
            metadata: metadata
        )
    }

    /// JSON, or JSON text in a form.
    private static func structured(_ value: JSON?, or code: String) throws -> JSON? {
        guard let value, !value.isNull else { return nil }
        guard let text = value.stringValue else { return value }
        guard let parsed = try? JSON(parsing: Array(text.utf8)) else { throw StandInRefusal(code) }
        return parsed
    }

    static func history(
        _ arguments: [String: JSON],
        _ messages: [StandInMessage]
    ) throws -> JSONObject {
        let channel = try channel(arguments)
        let own = messages.filter { $0.channel == channel && $0.threadTS == nil }
        return try page(Array(own.reversed()), arguments)
    }

    static func replies(
        _ arguments: [String: JSON],
        _ messages: [StandInMessage]
    ) throws -> JSONObject {
        let channel = try channel(arguments)
        let parent = arguments["ts"]?.stringValue
        let own = messages.filter {
            $0.channel == channel && ($0.ts == parent || $0.threadTS == parent)
        }
        guard !own.isEmpty else { throw StandInRefusal("thread_not_found") }
        return try page(own, arguments)
    }

    private static func page(
        _ messages: [StandInMessage],
        _ arguments: [String: JSON]
    ) throws -> JSONObject {
        func text(_ name: String) -> String? {
            arguments[name]?.stringValue ?? arguments[name]?.intValue.map(String.init)
        }
        let oldest = text("oldest").flatMap(Double.init) ?? 0
        let limit = text("limit").flatMap(Int.init) ?? 100
        let start = text("cursor").flatMap { $0.isEmpty ? 0 : Int($0) } ?? 0
        let all =
            ["true", "1"].contains(text("include_all_metadata")?.lowercased())
            || arguments["include_all_metadata"] == true
        guard (1...999).contains(limit) else { throw StandInRefusal("invalid_limit") }
        let found = messages.filter { (Double($0.ts) ?? 0) > oldest }.dropFirst(start)
        let hasMore = found.count > limit
        return [
            "ok": true,
            "messages": .array(found.prefix(limit).map { $0.document(withMetadata: all) }),
            "has_more": .bool(hasMore),
            "response_metadata": ["next_cursor": .string(hasMore ? "\(start + limit)" : "")],
        ]
    }
}
