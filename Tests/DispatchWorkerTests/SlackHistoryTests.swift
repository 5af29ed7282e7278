import EventLoop
import Foundation
import JSON
import Testing

@testable import dispatch_worker

@Suite("SlackHistoryTests")
struct SlackHistoryTests {
    private static let id = "01234567-89ab-7def-8123-456789abcdef"

    private let job: MessageReference
    private let channel: ChannelConfiguration

    init() throws {
        job = MessageReference(
            tenantID: UUID(),
            tenant: "acme",
            messageRequestID: try #require(UUID(uuidString: SlackHistoryTests.id)),
            generation: 2,
            channelCode: "general"
        )
        channel = ChannelConfiguration(
            workspaceCode: "w",
            provider: .slack,
            providerChannelID: "C1",
            policy: .verify,
            perSecond: 0.5,
            burst: 3
        )
    }

    private func message(_ content: JSON) -> ResolvedMessage {
        ResolvedMessage(job: job, content: MessageContent(content), channel: channel)
    }

    @Test("the body carries what was accepted, and our id in the metadata")
    func body() {
        let body = SlackApiService.body(
            of: message(["text": "hi", "blocks": nil, "thread_ts": "1.000002"])
        )
        #expect(
            body == [
                "channel": "C1", "text": "hi", "thread_ts": "1.000002",
                "metadata": [
                    "event_type": "switchboard_message_request",
                    "event_payload": ["mr_id": .string(SlackHistoryTests.id), "generation": 2],
                ],
            ]
        )
    }

    @Test("a look reads the channel, or the thread of a reply")
    func path() {
        #expect(
            SlackApiService.historyPath(message(["text": "hi"]), since: 1000, cursor: nil)
                == "conversations.history?channel=C1&oldest=995&limit=200"
                + "&include_all_metadata=true"
        )
        let reply = message(["text": "hi", "thread_ts": "1.000002"])
        #expect(
            SlackApiService.historyPath(reply, since: 0, cursor: "a=b")
                == "conversations.replies?channel=C1&ts=1.000002&oldest=0&limit=200"
                + "&include_all_metadata=true&cursor=a%3Db"
        )
    }

    @Test("only our own id and generation are ours")
    func finding() {
        func page(_ type: String, _ id: String, _ generation: Int64) -> JSON {
            [
                "messages": [
                    ["ts": "1.1"],
                    [
                        "ts": "2.2",
                        "metadata": [
                            "event_type": .string(type),
                            "event_payload": [
                                "mr_id": .string(id), "generation": .int(generation),
                            ],
                        ],
                    ],
                ]
            ]
        }
        let type = SlackApiService.eventType
        func found(_ page: JSON) -> Finding {
            Sightings.seen(SlackApiService.marks(in: page)).finding(of: job)
        }
        #expect(found(page(type, SlackHistoryTests.id, 2)) == .found(providerTS: "2.2"))
        #expect(found(page(type, SlackHistoryTests.id, 1)) == .absent)
        #expect(found(page(type, "other", 2)) == .absent)
        #expect(found(page("t", SlackHistoryTests.id, 2)) == .absent)
        #expect(found([:]) == .absent)
    }

    @Test("one look settles all messages of its channel, but only where it says something")
    func memory() {
        let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
        var memory = LookMemory()
        func finding(since: Int64, unknownFor: Duration, later: Duration = .zero) -> Finding? {
            memory.finding(
                of: job,
                in: "k",
                since: since,
                unknownFor: unknownFor,
                needs: .seconds(8),
                now: start + later
            )
        }
        #expect(finding(since: 100, unknownFor: .seconds(9)) == nil)
        memory.note("k", [:], since: 100, now: start)
        #expect(finding(since: 100, unknownFor: .seconds(8)) == .absent)
        // It did not reach back to the attempt, or came too early after it.
        #expect(finding(since: 99, unknownFor: .seconds(8)) == nil)
        #expect(finding(since: 100, unknownFor: .seconds(7)) == nil)
        #expect(finding(since: 100, unknownFor: .seconds(9), later: .seconds(2)) == nil)
        #expect(finding(since: 100, unknownFor: .seconds(99), later: .seconds(61)) == nil)
        memory.note("k", [job.mark: "1.2"], since: 100, now: start)
        #expect(finding(since: 1, unknownFor: .zero) == .found(providerTS: "1.2"))
    }

    @Test("a page that was refused says whether to look again")
    func pages() {
        func finding(_ status: Int, _ body: String) -> Sightings? {
            switch SlackApiService.page(status: status, body: Array(body.utf8)) {
            case .success: nil
            case .failure(let failure): failure.sightings
            }
        }
        #expect(finding(200, #"{"ok":true,"messages":[]}"#) == nil)
        #expect(finding(200, #"{"ok":false,"error":"thread_not_found"}"#) == nil)
        #expect(finding(429, "") == .later(reason: "http_429"))
        #expect(finding(503, "") == .later(reason: "http_503"))
        #expect(finding(200, "<html>") == .later(reason: "unreadable_answer"))
        #expect(
            finding(200, #"{"ok":false,"error":"fatal_error"}"#) == .later(reason: "fatal_error")
        )
        #expect(
            finding(200, #"{"ok":false,"error":"missing_scope"}"#)
                == .later(reason: "missing_scope")
        )
        #expect(
            finding(200, #"{"ok":false,"error":"channel_not_found"}"#)
                == .impossible(reason: "channel_not_found")
        )
    }

    @Test("the keys of one tenant share its tag")
    func keys() throws {
        let content = message(["text": "hi"])
        let id = SlackHistoryTests.id
        #expect(SendSlots.channelKey(content) == "rl:{acme}:slack:w:ch:C1")
        #expect(SendSlots.methodKey(content, "m") == "rl:{acme}:slack:w:m:m")
        let uuid = try #require(UUID(uuidString: id))
        #expect(MessageRequestProjection.key("acme", uuid) == "mr:projection:{acme}:\(id)")
        #expect(DispatchIdempotencyService.sendKey("acme", uuid) == "mr:send:{acme}:\(id)")
        #expect(DispatchIdempotencyService.dispatchKey("acme", uuid) == "mr:dispatch:{acme}:\(id)")
    }
}
