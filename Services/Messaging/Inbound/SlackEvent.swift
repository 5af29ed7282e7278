internal import JSON

/// What an event of Slack's Events API is to a conversation.
///
/// Unknown members mean nothing.
struct SlackEvent: Sendable, Equatable {
    /// What is to be done with an event.
    enum Verdict: Sendable, Equatable {
        case message(SlackEvent)
        /// It says nothing to a conversation, for this reason.
        case ignored(String)
    }

    let team: String
    let channel: String
    let user: String
    let text: String
    /// Slack's name of the message in its channel.
    let ts: String
    /// The message that began the thread it stands in; `nil` outside a thread.
    let threadTS: String?

    /// Two events can tell of one gesture (a message that mentions the app is sent as both): the
    /// message has this name in either.
    var externalID: String { SlackEvent.externalID(team, channel, ts) }

    static func externalID(_ team: String, _ channel: String, _ ts: String) -> String {
        "slack:\(team):\(channel):\(ts)"
    }

    /// Subtypes that are a person's words all the same.
    private static let subtypes: Set<String> = ["file_share", "thread_broadcast", "me_message"]

    /// Reads an `event_callback`.
    static func verdict(on envelope: JSON) -> Verdict {
        let event = envelope["event"] ?? .null
        guard let type = event["type"]?.stringValue, ["message", "app_mention"].contains(type)
        else { return .ignored("not_a_message") }
        if let subtype = event["subtype"]?.stringValue, !subtypes.contains(subtype) {
            return .ignored("subtype_\(subtype)")
        }
        // Our own messages come back as events, and other bots answer ours: both would go round.
        let isOurs = event["app_id"]?.stringValue.map { $0 == envelope["api_app_id"]?.stringValue }
        if event["bot_id"]?.stringValue != nil || isOurs == true { return .ignored("bot") }
        guard let team = envelope["team_id"]?.stringValue,
            let channel = event["channel"]?.stringValue, let user = event["user"]?.stringValue,
            let ts = event["ts"]?.stringValue, ts.utf8.count <= 40, user.utf8.count <= 255
        else { return .ignored("incomplete") }
        let text = words(of: event)
        guard !text.isEmpty else { return .ignored("empty") }
        let thread = event["thread_ts"]?.stringValue
        return .message(
            SlackEvent(
                team: team,
                channel: channel,
                user: user,
                text: text,
                ts: ts,
                threadTS: thread == ts ? nil : thread
            )
        )
    }

    /// The text, and the names of files that came with it.
    private static func words(of event: JSON) -> String {
        let text = unescaped(event["text"]?.stringValue ?? "")
        let files = (event["files"]?.arrayValue ?? []).compactMap { $0["name"]?.stringValue }
        return ([text] + files.map { "(file: \($0))" }).filter { !$0.isEmpty }
            .joined(separator: "\n")
    }

    /// Slack writes these three, and only these, as entities.
    private static func unescaped(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "&")) else { return text }
        var result = ""
        var rest = text[...]
        while let start = rest.firstIndex(of: "&") {
            result += rest[..<start]
            rest = rest[start...]
            let found = [("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")]
                .first { rest.hasPrefix($0.0) }
            result += found?.1 ?? "&"
            rest = rest.dropFirst(found?.0.count ?? 1)
        }
        return result + rest
    }
}
