import RedisClient
import Testing

@testable import Outbox

@Suite("StreamGap")
struct StreamGapTests {
    private func id(_ milliseconds: Int64, _ sequence: Int64 = 0) -> StreamEntryID {
        StreamEntryID(milliseconds: milliseconds, sequence: sequence)
    }

    private func missing(
        _ facts: StreamGap.Facts,
        seen: StreamEntryID? = nil,
        handled: Int64 = 0
    ) -> StreamGap.Missing? {
        StreamGap.missing(
            facts,
            seen: seen ?? facts.delivered,
            handled: handled,
            now: 9_000,
            pending: 500,
            drift: 10
        )
    }

    @Test("a group that was given everything up to the oldest entry misses nothing")
    func touching() {
        let facts = StreamGap.Facts(
            first: id(2_000),
            length: 5,
            added: 105,
            delivered: id(1_999, 7),
            read: 100
        )
        #expect(missing(facts) == nil)
    }

    @Test("entries that made room before the group was given them are missing")
    func trimmed() {
        let facts = StreamGap.Facts(
            first: id(2_000),
            length: 5,
            added: 105,
            delivered: id(1_500),
            read: 99
        )
        #expect(missing(facts) == .init(from: 1_490, until: 2_010))
    }

    @Test("where the server has lost count, entries older than the oldest are taken for missing")
    func uncounted() {
        let facts = StreamGap.Facts(
            first: id(2_000),
            length: 5,
            added: 105,
            delivered: id(1_500),
            read: nil
        )
        #expect(missing(facts) == .init(from: 1_490, until: 2_010))
    }

    @Test("two entries of the same millisecond are told apart")
    func sameMillisecond() {
        var facts = StreamGap.Facts(
            first: id(2_000, 3),
            length: 5,
            added: 105,
            delivered: id(2_000, 1),
            read: 98
        )
        #expect(missing(facts) != nil)
        facts.delivered = id(2_000, 3)
        #expect(missing(facts) == nil)
    }

    @Test("a new group on an old stream misses nothing: it was not there")
    func newGroup() {
        let facts = StreamGap.Facts(first: id(2_000), length: 5, added: 105, read: nil)
        #expect(missing(facts) == nil)
    }

    @Test("a stream that is gone, or came back older, may lack all since what was handled last")
    func gone() {
        let all = StreamGap.Missing(from: 6_500, until: 9_010)
        #expect(missing(.init(), seen: id(7_100), handled: 7_000) == all)
        let older = StreamGap.Facts(
            first: id(1_000),
            length: 3,
            added: 3,
            delivered: id(3_000),
            read: 3
        )
        #expect(missing(older, seen: id(7_100), handled: 7_000) == all)
    }

    @Test("what XINFO answers is read by name; another group's place is not taken for ours")
    func facts() {
        func text(_ text: String) -> RedisValue { .string(Array(text.utf8)) }
        let stream = RedisValue.array([
            text("length"), .int(2), text("entries-added"), .int(9),
            text("first-entry"), .array([text("12-3"), .array([])]),
        ])
        func group(_ name: String, _ delivered: String, _ read: RedisValue) -> RedisValue {
            .array([
                text("name"), text(name), text("last-delivered-id"), text(delivered),
                text("entries-read"), read,
            ])
        }
        let groups = RedisValue.array([
            group("g2", "99-0", .int(9)), group("g", "11-4", .null),
        ])
        let facts = StreamGap.Facts(stream: stream, groups: groups, group: "g")
        #expect(
            facts == .init(first: id(12, 3), length: 2, added: 9, delivered: id(11, 4), read: nil)
        )
        #expect(facts?.waiting == 2)
        #expect(StreamGap.Facts(stream: stream, groups: groups, group: "other") == nil)
        #expect(StreamEntryID(text: "12") == nil && StreamEntryID(text: "a-1") == nil)
    }
}
