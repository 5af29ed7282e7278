import JSON
import Testing

@testable import messaging

@Suite("SlackEvent")
struct SlackEventTests {
    private func verdict(_ event: JSONObject, app: String = "A1") -> SlackEvent.Verdict {
        var base: JSONObject = [
            "type": "message", "channel": "C1", "user": "U1", "text": "hello", "ts": "17.1",
        ]
        for (name, value) in event.members { base[name] = value }
        return SlackEvent.verdict(
            on: ["team_id": "T1", "api_app_id": .string(app), "event": .object(base)]
        )
    }

    @Test("a person's words are a message, named by team, channel and timestamp")
    func message() {
        var event = SlackEvent(
            team: "T1",
            channel: "C1",
            user: "U1",
            text: "hello",
            ts: "17.1",
            threadTS: nil
        )
        #expect(verdict([:]) == .message(event))
        #expect(verdict(["type": "app_mention"]) == .message(event))
        #expect(verdict(["thread_ts": "17.1"]) == .message(event))
        #expect(verdict(["client_msg_id": "", "blocks": [], "new": 1]) == .message(event))
        event.gesture = "x"
        #expect(verdict(["client_msg_id": "x"]) == .message(event))
        #expect(event.externalID == "slack:T1:C1:17.1")
    }

    @Test("an answer names the message that began its thread")
    func thread() {
        guard case .message(let event) = verdict(["thread_ts": "16.9"]) else {
            Issue.record("no message")
            return
        }
        #expect(event.threadTS == "16.9")
    }

    @Test(
        "Slack's three entities are undone, once",
        arguments: [
            ("a &lt;b&gt; &amp; c", "a <b> & c"), ("&amp;lt;", "&lt;"), ("&", "&"), ("&am", "&am"),
            ("&amp;&amp;", "&&"), ("&quot;", "&quot;"), ("Käse &amp; Brot", "Käse & Brot"),
        ]
    )
    func entities(row: (String, String)) {
        guard case .message(let event) = verdict(["text": .string(row.0)]) else {
            Issue.record("no message")
            return
        }
        #expect(event.text == row.1)
    }

    @Test(
        "an answer goes to the thread that a message stands in, or that it begins",
        arguments: [
            ("1700000000.000100", nil, "1700000000.000100"),
            ("1700000000.000200", "1700000000.000100", "1700000000.000100"),
            // No names that Slack gives, so none that it takes.
            ("17.1", nil, nil), ("1700000000.00010a", nil, nil), ("1700000000.000100.1", nil, nil),
            (".000100", nil, nil),
        ] as [(String, String?, String?)]
    )
    func answers(row: (ts: String, thread: String?, answer: String?)) {
        guard
            case .message(let event) = verdict([
                "ts": .string(row.ts), "thread_ts": JSON(row.thread),
            ])
        else {
            Issue.record("no message")
            return
        }
        #expect(event.answerThread == row.answer)
    }

    @Test("files come with their names, and are words where there are no others")
    func files() {
        let files: JSON = [["name": "a.png"], ["name": "b.pdf"]]
        guard
            case .message(let event) = verdict([
                "text": "", "subtype": "file_share", "files": files,
            ])
        else {
            Issue.record("no message")
            return
        }
        #expect(event.text == "(file: a.png)\n(file: b.pdf)")
        #expect(event.attachments.map(\.name) == ["a.png", "b.pdf"])
        guard case .message(let look) = verdict(["text": "look", "files": files]) else {
            Issue.record("no message")
            return
        }
        #expect(look.text == "look" && look.attachments.count == 2)
    }

    @Test("our own words, bots, changes and joins are none")
    func ignored() {
        #expect(verdict(["bot_id": "B1"]) == .ignored("bot"))
        #expect(verdict(["app_id": "A1"]) == .ignored("bot"))
        #expect(verdict(["subtype": "message_changed"]) == .ignored("subtype_message_changed"))
        #expect(verdict(["type": "reaction_added"]) == .ignored("not_a_message"))
        #expect(verdict(["text": ""]) == .ignored("empty"))
        #expect(verdict(["user": .null]) == .ignored("incomplete"))
        #expect(SlackEvent.verdict(on: []) == .ignored("not_a_message"))
    }
}
