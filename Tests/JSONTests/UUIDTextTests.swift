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
}
