internal import EventLoop
internal import FoundationEssentials
internal import JSON

/// Reading of Slack's history: which page to ask for, what an answer means, where our message is.
extension SlackApiService {
    /// The path and query of a page, from the parent's thread when the message is a reply.
    nonisolated static func historyPath(
        _ message: ResolvedMessage,
        since: Int64,
        cursor: String?
    ) -> String {
        var query = "channel=\(encoded(message.channel.providerChannelID))"
        if let thread = message.content.threadTS { query += "&ts=\(encoded(thread))" }
        query += "&oldest=\(max(0, since - clockSlackSeconds))&limit=\(historyPageLimit)"
        query += "&include_all_metadata=true"
        if let cursor { query += "&cursor=\(encoded(cursor))" }
        let method =
            message.content.threadTS == nil ? "conversations.history" : "conversations.replies"
        return "\(method)?\(query)"
    }

    /// Why a page says nothing.
    struct NoPage: Error, Hashable {
        let sightings: Sightings

        init(_ sightings: Sightings) {
            self.sightings = sightings
        }
    }

    /// What an answer to a history call means.
    ///
    /// Limits and outages pass, and a workspace that refuses its token may get another.
    nonisolated static func page(status: Int, body: [UInt8]) -> Result<JSON, NoPage> {
        guard status < 429 else { return .failure(NoPage(.later(reason: "http_\(status)"))) }
        guard let answer = try? JSON(parsing: body, limits: .foreign),
            let isOK = answer["ok"]?.boolValue
        else { return .failure(NoPage(.later(reason: "unreadable_answer"))) }
        if isOK { return .success(answer) }
        let code = answer["error"]?.stringValue ?? "answer_without_error"
        let passing: Set<String> = [
            "ratelimited", "rate_limited", "service_unavailable", "request_timeout",
            "internal_error", "fatal_error", "team_added_to_org",
        ]
        // A thread that is gone cannot hold the reply.
        if code == "thread_not_found" { return .success(["ok": true, "messages": []]) }
        return .failure(
            NoPage(
                passing.contains(code) || SlackOutcome.workspace.contains(code)
                    ? .later(reason: code) : .impossible(reason: code)
            )
        )
    }

    /// The messages of a page that carry our metadata, by their marks.
    nonisolated static func marks(in answer: JSON) -> [String: String] {
        var marks: [String: String] = [:]
        for message in answer["messages"]?.arrayValue ?? [] {
            guard let metadata = message["metadata"],
                metadata["event_type"] == JSON.string(eventType),
                let payload = metadata["event_payload"],
                let id = payload["mr_id"]?.stringValue,
                let generation = payload["generation"]?.intValue,
                let ts = message["ts"]?.stringValue
            else { continue }
            marks["\(id).\(generation)"] = ts
        }
        return marks
    }

    nonisolated private static func encoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e:
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                result += byte < 16 ? "%0\(hex)" : "%\(hex)"
            }
        }
        return result
    }
}
