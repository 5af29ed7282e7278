import Testing

@testable import Platform

@Suite("RecognizedFields")
struct RecognizedFieldsTests {
    @Test("fields of one place in the table do not pass for each other")
    func sharedPlaces() {
        var recognized = RecognizedFields<Int>()
        func field(_ id: String, _ secret: String = "s") -> ArraySlice<UInt8> {
            Array("Bearer sb_\(id)_\(secret)".utf8)[...]
        }
        // There are more keys than places.
        let ids = (0..<4 * RecognizedFields<Int>.count).map { "key\($0)" }
        for (number, id) in ids.enumerated() {
            recognized.learn(field(id), number)
            #expect(recognized.known(field(id)) == number)
            #expect(recognized.known(field(id, "t")) == nil)
        }
        for (number, id) in ids.enumerated() {
            let known = recognized.known(field(id))
            #expect(known == nil || known == number)
        }
        for text in ["", "B", "Bearer sb_"] {
            #expect(recognized.known(Array(text.utf8)[...]) == nil)
        }
    }
}
