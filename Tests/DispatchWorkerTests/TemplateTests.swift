import HTTPServer
import JSON
import Testing

@testable import dispatch_worker

@Suite("TemplateTests")
struct TemplateTests {
    @Test("places are found in text and in every string of the blocks")
    func variables() throws {
        let blocks: JSON = [
            ["type": "section", "text": ["type": "mrkdwn", "text": "{{b}} {{a}}"]]
        ]
        let template = try Template(text: "{{ c }}", blocks: blocks)
        #expect(template.variables == ["a", "b", "c"])
    }

    @Test(
        "a template that cannot be read says where",
        arguments: ["{{", "{{}}", "{{1a}}", "{{a-b}}", "x {{a}} {{b"]
    )
    func malformed(_ text: String) {
        #expect(throws: Template.Malformed.self) { try Template(text: text, blocks: nil) }
        let blocks: JSON = [["text": .string(text)]]
        do {
            _ = try Template(text: nil, blocks: blocks)
            Issue.record("\(text) was read")
        } catch {
            #expect(error.pointer == "/blocks/0/text")
        }
    }

    @Test("values fill their places and cannot become markup")
    func rendering() throws {
        let template = try Template(text: "Hi {{name}}, {{n}} {{ok}}", blocks: nil)
        let rendering = try template.render(["name": "<!channel> & co", "n": 7, "ok": true]).get()
        #expect(rendering.text == "Hi &lt;!channel&gt; &amp; co, 7 true")
    }

    @Test("a value that looks like a place is not filled again")
    func once() throws {
        let template = try Template(text: "{{a}}{{b}}", blocks: nil)
        let rendering = try template.render(["a": "{{b}}", "b": "x"]).get()
        #expect(rendering.text == "{{b}}x")
    }

    @Test("values are strict: missing, too many, of the wrong kind")
    func strict() throws {
        let template = try Template(text: "{{a}} {{b}} {{c}}", blocks: nil)
        guard case .failure(let invalid) = template.render(["a": ["x"], "b": "y", "d": 1]) else {
            Issue.record("it was rendered")
            return
        }
        let pointers = invalid.faults.map(\.pointer)
        #expect(pointers == ["/variables/a", "/variables/c", "/variables/d"])
    }
}

@Suite("SlackLimitsTests")
struct SlackLimitsTests {
    static let long = String(repeating: "x", count: 3_001)

    static let rows: [(JSON, [String])] = [
        ([["type": "divider"]], []),
        ([], ["/blocks"]),
        (["x"], ["/blocks/0"]),
        ([["type": "divider"], ["text": "x"]], ["/blocks/1/type"]),
        ([["type": "section", "text": ["text": .string(long)]]], ["/blocks/0/text/text"]),
        ([["type": "section"]], ["/blocks/0/text"]),
        ([["type": "header"]], ["/blocks/0/text"]),
        (
            [["type": "header", "text": ["text": .string(String(long.prefix(151)))]]],
            ["/blocks/0/text/text"]
        ),
        (
            [["type": "context", "elements": .array(Array(repeating: [:], count: 11))]],
            ["/blocks/0/elements"]
        ),
        (
            [["type": "section", "fields": [["text": .string(String(long.prefix(2_001)))]]]],
            ["/blocks/0/fields/0/text"]
        ),
        (.array(Array(repeating: ["type": "divider"], count: 51)), ["/blocks"]),
        (
            .array(
                Array(
                    repeating: [
                        "type": "section", "text": ["text": .string(String(long.prefix(3_000)))],
                    ],
                    count: 4
                )
            ), ["/blocks"]
        ),
    ]

    @Test("what Slack refuses is found before it is sent, and where", arguments: rows)
    func pointers(_ blocks: JSON, _ wanted: [String]) {
        #expect(SlackLimits.faults(blocks: blocks).map(\.pointer) == wanted)
    }

    @Test("characters are counted, not bytes")
    func characters() {
        let text = String(repeating: "ü", count: 3_000)
        let blocks: JSON = [["type": "section", "text": ["text": .string(text)]]]
        #expect(SlackLimits.faults(blocks: blocks).isEmpty)
    }
}
