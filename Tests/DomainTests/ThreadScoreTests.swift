import Domain
import Foundation
import Testing

@Suite("ThreadScoreTests")
struct ThreadScoreTests {
    static let thread = UUID()

    func facts(
        _ texts: [String],
        mentions: [String] = [],
        author: String? = nil,
        at: Int64 = 0
    ) -> ThreadFacts {
        ThreadFacts(
            id: Self.thread,
            recentTerms: texts.map { TextFeatures($0).keptTerms },
            recentMentions: mentions,
            lastAuthor: author,
            lastMessageAt: at
        )
    }

    func score(_ text: String, _ thread: ThreadFacts, at now: Int64) -> Double {
        ThreadScore.scores(TextFeatures(text), [thread], now: now)[0].total
    }

    @Test("each part has its weight")
    func weights() {
        let day: Int64 = 24 * 3600 * 1000
        #expect(abs(score("refund", facts(["refund"]), at: day) - 0.70) < 1e-9)
        #expect(abs(score("x @bob", facts(["y"], mentions: ["bob"]), at: day) - 0.10) < 1e-9)
        #expect(abs(score("x", facts(["y"]), at: 0) - 0.10) < 1e-9)
        #expect(abs(score("x", facts(["y"]), at: 60 * 1000) - 0.1 / M_E) < 1e-9)
    }

    @Test("stays between 0 and 1, whatever the clock says")
    func bounds() {
        let all = facts(["refund @bob"], mentions: ["bob"], author: "", at: 1000)
        #expect(score("refund @bob", all, at: 0) == 1)
        #expect(score("other", facts(["y"]), at: .max) >= 0)
        #expect(score("", facts([]), at: 0) <= 1)
        #expect(ThreadScore.scores(TextFeatures("refund"), [], now: 0).isEmpty)
    }

    /// The turn's part of the score of each thread, for `text` of "me".
    func turns(_ text: String, _ threads: [ThreadFacts], at now: Int64) -> [Double] {
        ThreadScore.scores(TextFeatures(text, author: "me"), threads, now: now).map(\.turn)
    }

    @Test("who writes again within seconds goes on, in the thread that was written to last")
    func goingOn() {
        let mine = facts(["order 5521"], author: "me", at: 0)
        #expect(turns("still cold", [mine], at: 0) == [0.4])
        let soon = ThreadChoice.choose(
            explicit: nil,
            replyThread: nil,
            features: TextFeatures("still cold", author: "me"),
            threads: [mine],
            now: 5000
        )
        #expect(soon.method == .similar && soon.parts?.turn ?? 0 > 0.3)
        // More words than a few say themselves what they are about.
        #expect(turns("also do you open on sunday", [mine], at: 0) == [0])
        // A minute later it is a new thought; and an older thread was not gone on with.
        #expect(turns("still cold", [mine], at: 60_000)[0] < 0.03)
        let newer = facts(["y"], author: "me", at: 1000)
        #expect(turns("still cold", [newer, mine], at: 1000)[1] == 0)
    }

    @Test("a short message answers the thread that waits; two that wait make it uncertain")
    func answering() {
        let asked = facts(["when do you close?"], author: "she", at: 0)
        let told = facts(["we close at six"], author: "he", at: 0)
        let mine = facts(["open on sunday"], author: "me", at: 0)
        let alone = turns("at six", [asked, mine], at: 1000)
        #expect(alone[0] > 0.2 && alone[1] == 0)
        let two = turns("at six", [asked, told], at: 1000)
        #expect(two[0] < alone[0] && two[0] > 2 * two[1] && two[1] > 0)
        // A question waits for its answer more than a statement does.
        #expect(turns("at six", [told, asked], at: 1000)[0] < two[0])
        // Of many words of its own only their meaning decides; what waits long is no longer waited for.
        let long = (1...40).map { "word\($0)" }.joined(separator: " ")
        #expect(turns(long, [asked], at: 1000)[0] < 0.05)
        #expect(turns("at six", [asked], at: 24 * 3_600_000)[0] < 1e-6)
    }

    @Test("who asks does not answer")
    func asking() {
        let asked = facts(["when do you close?"], author: "she", at: 0)
        #expect(turns("why?", [asked], at: 1000) == [0])
    }

    @Test("a short word that nobody said counts less than a long one")
    func shortWords() {
        let day: Int64 = 24 * 3600 * 1000
        let thread = facts(["refund"])
        #expect(score("my refund", thread, at: day) > score("late refund", thread, at: day))
        #expect(abs(score("my", facts(["my"]), at: day) - 0.7) < 1e-9)
    }

    @Test("a word of every thread tells none from another, a word of one does")
    func rarity() {
        let threads = [facts(["the refund", "the money"]), facts(["the parcel", "the van"])]
        let day: Int64 = 24 * 3600 * 1000
        let scores = ThreadScore.scores(TextFeatures("the refund"), threads, now: day)
        #expect(abs(scores[0].total - 0.7) < 1e-9)
        #expect(scores[1].total > 0 && scores[1].total < 0.35)
    }

    @Test("only the last messages count")
    func windows() {
        let day: Int64 = 24 * 3600 * 1000
        let old = facts(["refund"] + (1...20).map { "word\($0)" })
        #expect(score("refund", old, at: day) < 1e-6)
    }

    @Test("the choice is explicit, then reply, then similar, then new")
    func order() {
        let named = UUID()
        let replied = UUID()
        let features = TextFeatures("where is my refund")
        let near = facts(["my refund is late"], at: 0)
        func choose(_ explicit: UUID?, _ reply: UUID?, _ threads: [ThreadFacts]) -> ThreadChoice {
            .choose(
                explicit: explicit,
                replyThread: reply,
                features: features,
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
        let far = facts(["opening hours"], at: -3_600_000)
        #expect(choose(nil, nil, [far]).method == .newThread)
        #expect(choose(nil, nil, []).thread == nil)
    }

    @Test("equal scores choose alike in any order")
    func ties() {
        let threads = (0..<5).map { _ in
            ThreadFacts(
                id: UUID(),
                recentTerms: [TextFeatures("refund").terms],
                recentMentions: [],
                lastAuthor: nil,
                lastMessageAt: 0
            )
        }
        func chosen(_ threads: [ThreadFacts]) -> UUID? {
            ThreadChoice.choose(
                explicit: nil,
                replyThread: nil,
                features: TextFeatures("refund"),
                threads: threads,
                now: 0
            ).thread
        }
        #expect(chosen(threads) == chosen(threads.reversed()))
    }

    @Test("a thread with a message more keeps the last 20 messages and 32 mentions")
    func adding() {
        var thread = facts([])
        for number in 1...40 {
            thread = thread.adding(
                TextFeatures("word\(number) @person\(number)?", author: "p\(number)"),
                at: Int64(number)
            )
        }
        #expect(thread.recentTerms.count == 20)
        #expect(thread.recentTerms.last == TextFeatures("word40?").keptTerms)
        #expect(thread.recentTerms.first == TextFeatures("word21?").keptTerms)
        #expect(thread.endsWithQuestion)
        #expect(thread.lastAuthor == "p40")
        #expect(thread.recentMentions.count == 32)
        #expect(thread.recentMentions.first == "person40")
        #expect(!thread.recentMentions.contains("person8"))
        #expect(thread.lastMessageAt == 40)
        #expect(thread.id == Self.thread)
    }

    @Test("a message about the same thing follows one that was just added")
    func addingDraws() {
        let first = TextFeatures("where is my refund")
        let thread = facts([]).adding(first, at: 0)
        let choice = ThreadChoice.choose(
            explicit: nil,
            replyThread: nil,
            features: TextFeatures("my refund please"),
            threads: [thread],
            now: 0
        )
        #expect(choice.method == .similar)
        #expect(choice.thread == Self.thread)
    }
}
