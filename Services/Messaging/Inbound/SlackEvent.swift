internal import JSON

/// What names an event of Slack and says whose it is.
struct SlackEnvelope: Sendable {
    /// The event's own id: a repeat has the same.
    let id: String
    let team: String
    /// The Slack app that it was sent to.
    let app: String?
    let channel: String

    /// Reads an envelope; `nil` when it names no team or event.
    init?(_ envelope: JSON) {
        guard let team = envelope["team_id"]?.stringValue,
            let id = envelope["event_id"]?.stringValue, (1...128).contains(id.utf8.count)
        else { return nil }
        self.id = id
        self.team = team
        app = envelope["api_app_id"]?.stringValue
        channel = envelope["event"]?["channel"]?.stringValue ?? ""
    }
}

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
    /// The writer's own name for what was written, the same in every event of it; `nil` where the
    /// client made none.
    var gesture: String?
    /// Files that were shared with it.
    var attachments: [Attachment] = []

    /// Where an answer belongs: the thread that it stands in, or that it begins.
    ///
    /// `nil` for a name that Slack would not take back.
    var answerThread: String? {
        let name = threadTS ?? ts
        let parts = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let isName =
            parts.count == 2 && !parts[0].isEmpty && parts[1].count == 6
            && parts.allSatisfy { $0.allSatisfy { (0x30...0x39).contains($0) } }
        return isName ? name : nil
    }

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
        let files = attachments(of: event)
        let written = unescaped(event["text"]?.stringValue ?? "")
        let text = written.isEmpty ? Attachment.words(of: files) : written
        guard !text.isEmpty else { return .ignored("empty") }
        let thread = event["thread_ts"]?.stringValue
        return .message(
            SlackEvent(
                team: team,
                channel: channel,
                user: user,
                text: text,
                ts: ts,
                threadTS: thread == ts ? nil : thread,
                gesture: event["client_msg_id"]?.stringValue.flatMap {
                    (1...128).contains($0.utf8.count) ? $0 : nil
                },
                attachments: files
            )
        )
    }

    private static func attachments(of event: JSON) -> [Attachment] {
        (event["files"]?.arrayValue ?? []).prefix(Attachment.countMax).compactMap { file in
            guard let name = file["name"]?.stringValue, !name.isEmpty else { return nil }
            return Attachment(
                name: String(name.prefix(255)),
                contentType: file["mimetype"]?.stringValue,
                url: file["url_private"]?.stringValue
            )
        }
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
