import TestSupport
import Testing

@testable import messaging

@Suite("Answers in parts")
struct AnswerPartsTests {
    private func parts(_ text: String, _ limit: Int = 64) -> [String] {
        AnswerParts.split(text, limit: limit)
    }

    private func words(_ count: Int, _ word: String = "word") -> String {
        Array(repeating: word, count: count).joined(separator: " ")
    }

    @Test("Slack takes 3,900 code points of a bot; other channels take everything")
    func limits() {
        #expect(AnswerParts.limit(of: "slack") == 3_900)
        #expect(AnswerParts.limit(of: "local") == nil && AnswerParts.limit(of: "webhook") == nil)
        let long = String(repeating: "x", count: 8_000)
        #expect(AnswerParts.split(long, limit: nil) == [long])
        #expect(AnswerParts.split(long, limit: 3_900).map(\.count) == [3_900, 3_900, 200])
    }

    @Test("what fits is one part, to the last code point")
    func fits() {
        let exact = String(repeating: "é", count: 64)
        #expect(parts(exact) == [exact])
        #expect(parts(exact + "!").count == 2)
        #expect(parts("") == [""])
    }

    @Test("a part ends between paragraphs, else lines, else sentences, else words")
    func borders() {
        let half = words(8)
        #expect(parts("\(half)\n\n\(half)\n\(words(2))") == [half, "\(half)\n\(words(2))"])
        #expect(parts("\(half)\n\(half)") == [half, half])
        #expect(parts("\(half)! \(half)") == ["\(half)!", half])
        #expect(parts(words(16)) == [words(12), words(4)])
        // A stop inside of a number or a name ends no sentence; one of Chinese needs no space.
        #expect(parts("\(half)v1.5\(words(6))").first == "\(half)v1.5\(words(4))")
        let chinese = String(repeating: "好", count: 40)
        #expect(parts("\(chinese)。\(chinese)") == ["\(chinese)。", chinese])
    }

    @Test("a border too early for a message of its own is passed over")
    func early() {
        #expect(parts("Hi.\n\n\(words(16))") == ["Hi.\n\n\(words(11))", words(5)])
    }

    @Test("code points are counted, and no character is cut that people see as one")
    func characters() {
        let family = "👨‍👩‍👧‍👦"
        let scalars = family.unicodeScalars.count
        let split = parts(String(repeating: family, count: 20))
        #expect(split.joined() == String(repeating: family, count: 20))
        #expect(split.allSatisfy { $0.unicodeScalars.count <= 64 })
        #expect(split.first?.count == 64 / scalars)
        // One that is longer than a message by itself has to be.
        let endless = "a" + String(repeating: "\u{301}", count: 100)
        #expect(parts(endless).map(\.unicodeScalars.count) == [64, 37])
    }

    @Test("a block of code stays whole where it fits into one message")
    func code() {
        let block = "```swift\nlet a = 1\n\nlet b = 2\n```"
        let text = "\(words(9))\n\(block)\n\(words(6))"
        #expect(parts(text) == [words(9), "\(block)\n\(words(6))"])
        // Also where little stands before it.
        let long = "```\n\(words(11))\n```"
        #expect(parts("See:\n\(long)\nend") == ["See:", long, "end"])
    }

    @Test("a block of code that fits into no message is fenced in each")
    func longCode() {
        let lines = (1...20).map { "  line(\($0))" }.joined(separator: "\n")
        let split = parts("```py\n\(lines)\n```")
        #expect(split.count > 2)
        for part in split {
            #expect(part.hasPrefix("```py\n  line(") && part.hasSuffix(")\n```"))
        }
        let inner = split.map { $0.dropFirst(6).dropLast(4) }.joined(separator: "\n")
        #expect(inner == lines)
        // Text after it is none of it, and its end alone makes no empty block.
        let half = "```\n\(words(11))\n```"
        #expect(parts("```\n\(words(11))\n\(words(11))\n```\nbye") == [half, half, "bye"])
        let x = String(repeating: "x", count: 56)
        #expect(parts("```\n\(x)\n\n\n\n```") == ["```\n\(x)\n```"])
        // A line that opens with a whole story opens again without it.
        let story = parts("```\(String(repeating: "s", count: 60))\n\(words(30))")
        #expect(story.dropFirst().allSatisfy { $0.hasPrefix("```\n") })
    }

    @Test("whatever is written, nothing is lost, doubled or too long")
    func fuzz() throws {
        let pieces = [
            "word", "Ende.", " ", " ", "\n", "\n\n", "```", "```swift\n", "\n```\n", "👨‍👩‍👧‍👦", "é",
            "e\u{301}",
            "。", "\r\n", "  ", "x.y", "https://example.com/a-long-path?x=1", "\t", "``", "`", "!",
        ]
        try SeededRandom.check(runs: 3_000) { random in
            var text = ""
            for _ in 0..<Int.random(in: 0..<120, using: &random) {
                text += pieces.randomElement(using: &random) ?? ""
            }
            let limit = Int.random(in: 64..<200, using: &random)
            let split = AnswerParts.split(text, limit: limit)
            func bare(_ text: String) -> [Character] { text.filter { !$0.isWhitespace } }
            // A block that is cut is fenced again: beside that everything is there, in its order.
            let (said, shown) = (bare(text), bare(split.joined()))
            var rest = said[...]
            for character in shown where rest.first == character { rest.removeFirst() }
            guard rest.isEmpty, text.contains("```") || said == shown
            else { throw Violation("something was lost or doubled") }
            guard split.allSatisfy({ $0.unicodeScalars.count <= limit || split.count == 1 }),
                split.count == 1 || !split.contains(where: { $0.allSatisfy(\.isWhitespace) })
            else { throw Violation("a part is too long, or blank") }
        }
    }
}
