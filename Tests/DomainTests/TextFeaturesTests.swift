import Domain
import Testing

@Suite("TextFeaturesTests")
struct TextFeaturesTests {
    @Test(
        "texts with the same words have the same terms",
        arguments: [
            ("Hello, World!", "hello world"),
            ("ÉTÉ à Paris", "été À PARIS"),
            ("Đơn hàng", "đơn  HÀNG"),
            ("a.b-c", "a b c"),
            ("hello hello", "hello"), ("Refunds", "refunded"), ("Größen", "größe"),
        ]
    )
    func equal(_ left: String, _ right: String) {
        #expect(TextFeatures(left).terms == TextFeatures(right).terms)
        #expect(!TextFeatures(left).terms.isEmpty)
    }

    @Test(
        "texts with other words have other terms",
        arguments: [("cat", "dog"), ("order48213", "order48214"), ("12345678", "12345679")]
    )
    func different(_ left: String, _ right: String) {
        #expect(TextFeatures(left).terms != TextFeatures(right).terms)
    }

    @Test("a short word is told from a long one, and a question from a statement")
    func kinds() {
        let features = TextFeatures("my order 12?")
        #expect(features.terms.map(features.shortTerms.contains) == [true, false, false])
        #expect(features.asks && TextFeatures("返品？").asks && !TextFeatures("my order").asks)
        #expect(
            TextFeatures.unpack(features.packedTerms) == features.terms + [TextFeatures.question]
        )
        #expect(TextFeatures("order", author: "c1").author == "c1")
    }

    @Test(
        "scripts without spaces are cut into pairs",
        arguments: [
            ("返品したい", 4), ("返", 1), ("สวัสดี", 5), ("ab返品cd", 3),
        ]
    )
    func pairs(_ text: String, _ count: Int) {
        #expect(TextFeatures(text).terms.count == count)
    }

    @Test(
        "mentions are names after @, not parts of addresses",
        arguments: [
            ("hi @Bob and @ann-lee.", ["bob", "ann-lee"]),
            ("mail me at me@example.com", []),
            ("<@U123ABC> hello", ["u123abc"]),
            ("@bob @bob", ["bob"]),
            ("@", []),
        ]
    )
    func mentions(_ text: String, _ expected: [String]) {
        #expect(TextFeatures(text).mentions == expected)
    }

    @Test("a long text has bounded features")
    func limits() {
        let text = (0..<9_999).map { "w\($0) @m\($0)" }.joined(separator: " ")
        let features = TextFeatures(text)
        #expect(features.terms.count == TextFeatures.termLimit)
        #expect(features.mentions.count == TextFeatures.mentionLimit)
    }

    @Test("terms are FNV-1a and survive packing")
    func packing() {
        let features = TextFeatures("foobar")
        #expect(features.terms == [0x39aa_a18a])
        #expect(features.packedTerms == [0x39, 0xaa, 0xa1, 0x8a])
        #expect(TextFeatures.unpack(features.packedTerms + [1, 2]) == features.terms)
    }
}

@Suite("ControlWordTests")
struct ControlWordTests {
    @Test(
        "orders are told from messages",
        arguments: [
            ("stop", ControlWord.stop), (" STOP! ", .stop), ("/stop", .stop), ("Agent.", .agent),
            ("please stop", nil), ("agents", nil), ("", nil), ("stop stop", nil),
            (String(repeating: " ", count: 65) + "stop", nil),
        ]
    )
    func orders(_ text: String, _ expected: ControlWord?) {
        #expect(ControlWords().meaning(of: text) == expected)
    }
}

@Suite("ThreadTitleTests")
struct ThreadTitleTests {
    @Test(
        "a title is the first line with words, at most 60 characters",
        arguments: [
            ("Hello there", "Hello there"),
            ("\n --- \n  Where   is it? \nPlease", "Where is it?"),
            ("!!!", "New thread"),
            ("\u{2028}Grüße\u{a0}aus \r\nKöln", "Grüße aus"),
            (String(repeating: "ä", count: 60), String(repeating: "ä", count: 60)),
            ("", "New thread"),
            (String(repeating: "x", count: 70), String(repeating: "x", count: 59) + "…"),
            (
                String(repeating: "word ", count: 20),
                String(repeating: "word ", count: 11) + "word…"
            ),
        ]
    )
    func titles(_ text: String, _ expected: String) {
        #expect(ThreadTitle.make(from: text) == expected)
        #expect(ThreadTitle.make(from: text).count <= ThreadTitle.lengthMax)
    }
}
