import FoundationEssentials
import JSON
import Testing

@Suite("UUIDTextTests")
struct UUIDTextTests {
    @Test("an id is written in lower case, as it is read")
    func known() throws {
        let text = "01923abc-def0-7123-89ab-ffffffffff0a"
        #expect(try #require(UUID(uuidString: text)).text == text)
    }

    @Test("any id is written as Foundation writes it, in lower case")
    func any() {
        for _ in 0..<1000 {
            let id = UUID()
            #expect(id.text == id.uuidString.lowercased())
        }
    }

    @Test("any id is read back, in either case")
    func read() {
        for _ in 0..<1000 {
            let id = UUID()
            #expect(UUID(text: id.text) == id)
            #expect(UUID(text: id.uuidString) == id)
        }
    }

    @Test(
        "what is no id is not read",
        arguments: [
            "", "01923abc-def0-7123-89ab-ffffffffff0", "01923abc-def0-7123-89ab-ffffffffff0a0",
            "01923abcdef0-7123-89ab-ffffffffff0a1", "01923abc-def0-7123-89ab-ffffffffff0g",
            "01923abc-def0-7123-89ab+ffffffffff0a", "{1923abc-def0-7123-89ab-ffffffffff0a",
            "01923abc-def0-7123-89ab-ffffffffff é", " 1923abc-def0-7123-89ab-ffffffffff0a",
            "0x923abc-def0-7123-89ab-ffffffffff0a", "-1923abc-def0-7123-89ab-ffffffffff0a",
        ]
    )
    func refused(_ text: String) {
        #expect(UUID(text: text) == nil)
    }
}
