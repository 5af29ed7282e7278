import Domain
import Foundation
import Testing

@Suite("ThreadScoreTests")
struct ThreadScoreTests {
    static let thread = UUID()

    func facts(
        _ texts: [String],
        authors: [String] = [],
        mentions: [String] = [],
        at: Int64 = 0
    ) -> ThreadFacts {
        ThreadFacts(
            id: Self.thread,
            recentTerms: texts.map { TextFeatures($0).terms },
            recentAuthors: authors,
            recentMentions: mentions,
            lastMessageAt: at
        )
    }

    func score(
        _ text: String,
        by author: String = "ann",
        _ thread: ThreadFacts,
        at now: Int64
    )
        -> Double
    {
        ThreadScore.score(TextFeatures(text), author: author, thread: thread, now: now)
    }

    @Test("each part has its weight")
    func weights() {
        let day: Int64 = 24 * 3600 * 1000
        #expect(abs(score("refund", facts(["refund"]), at: day) - 0.45) < 1e-9)
        #expect(abs(score("x", facts(["y"], authors: ["ann"]), at: day) - 0.25) < 1e-9)
        #expect(abs(score("x @bob", facts(["y"], mentions: ["bob"]), at: day) - 0.20) < 1e-9)
        #expect(abs(score("x", facts(["y"]), at: 0) - 0.10) < 1e-9)
        #expect(abs(score("x", facts(["y"]), at: 30 * 60 * 1000) - 0.1 / M_E) < 1e-9)
    }

    @Test("stays between 0 and 1, whatever the clock says")
    func bounds() {
        let all = facts(["refund @bob"], authors: ["ann"], mentions: ["bob"], at: 1000)
        #expect(abs(score("refund @bob", all, at: 0) - 1) < 1e-9)
        #expect(score("other", facts(["y"]), at: .max) >= 0)
        #expect(score("", facts([]), at: 0) <= 1)
    }

    @Test("a word of every message weighs less than a rare one")
    func rarity() {
        let thread = facts(["the refund", "the order", "the parcel"])
        let day: Int64 = 24 * 3600 * 1000
        #expect(score("the moon", thread, at: day) < score("refund moon", thread, at: day))
    }

    @Test("only the last messages and authors count")
    func windows() {
        let day: Int64 = 24 * 3600 * 1000
        let old = facts(["refund"] + (1...20).map { "word\($0)" })
        #expect(score("refund", old, at: day) < 1e-6)
        let authors = facts(["y"], authors: ["ann", "b", "c", "d"])
        #expect(score("x", authors, at: day) < 1e-6)
    }

    @Test("the choice is explicit, then reply, then similar, then new")
    func order() {
        let named = UUID()
        let replied = UUID()
        let features = TextFeatures("where is my refund")
        let near = facts(["my refund is late"], authors: ["ann"], at: 0)
        func choose(_ explicit: UUID?, _ reply: UUID?, _ threads: [ThreadFacts]) -> ThreadChoice {
            .choose(
                explicit: explicit,
                replyThread: reply,
                features: features,
                author: "ann",
                threads: threads,
                now: 0
            )
        }
        #expect(choose(named, replied, [near]).thread == named)
        #expect(choose(named, replied, [near]).method == .explicit)
        #expect(choose(nil, replied, [near]).method == .reply)
        let similar = choose(nil, nil, [near])
        #expect(similar.method == .similar && similar.thread == Self.thread)
        #expect(similar.score >= ThreadScore.threshold)
        let far = facts(["opening hours"], authors: ["bob"], at: -3_600_000)
        #expect(choose(nil, nil, [far]).method == .newThread)
        #expect(choose(nil, nil, []).thread == nil)
    }

    @Test("equal scores choose alike in any order")
    func ties() {
        let threads = (0..<5).map { _ in
            ThreadFacts(
                id: UUID(),
                recentTerms: [TextFeatures("refund").terms],
                recentAuthors: ["ann"],
                recentMentions: [],
                lastMessageAt: 0
            )
        }
        func chosen(_ threads: [ThreadFacts]) -> UUID? {
            ThreadChoice.choose(
                explicit: nil,
                replyThread: nil,
                features: TextFeatures("refund"),
                author: "ann",
                threads: threads,
                now: 0
            ).thread
        }
        #expect(chosen(threads) == chosen(threads.reversed()))
    }

    @Test("a thread with a message more keeps the last 20 messages, 3 authors and 32 mentions")
    func adding() {
        var thread = facts([])
        for number in 1...40 {
            thread = thread.adding(
                TextFeatures("word\(number) @person\(number)"),
                author: "author\(number)",
                at: Int64(number)
            )
        }
        #expect(thread.recentTerms.count == 20)
        #expect(thread.recentTerms.last == TextFeatures("word40").terms)
        #expect(thread.recentTerms.first == TextFeatures("word21").terms)
        #expect(thread.recentAuthors == ["author38", "author39", "author40"])
        #expect(thread.recentMentions.count == 32)
        #expect(thread.recentMentions.first == "person40")
        #expect(!thread.recentMentions.contains("person8"))
        #expect(thread.lastMessageAt == 40)
        #expect(thread.id == Self.thread)
    }

    @Test("a message by the same person about the same thing follows one that was just added")
    func addingDraws() {
        let first = TextFeatures("where is my refund")
        let thread = facts([]).adding(first, author: "ann", at: 0)
        let choice = ThreadChoice.choose(
            explicit: nil,
            replyThread: nil,
            features: TextFeatures("my refund please"),
            author: "ann",
            threads: [thread],
            now: 0
        )
        #expect(choice.method == .similar)
        #expect(choice.thread == Self.thread)
    }
}
