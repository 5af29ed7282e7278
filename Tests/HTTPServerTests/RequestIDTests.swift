import Testing
import Tracing

@testable import HTTPServer

@Suite("RequestID")
struct RequestIDTests {
    @Test("ids do not repeat, and have 128 bits in hexadecimal")
    func identifiers() {
        var source = IdentifierSource()
        var other = IdentifierSource()
        let made = (0..<1000).flatMap { _ in [source.requestID().text, other.requestID().text] }
        #expect(Set(made).count == 2000)
        #expect(made.allSatisfy { $0.utf8.count == 32 })
    }

    @Test(
        "a caller's request id is 1 to 128 visible ASCII bytes",
        arguments: [("a", true), ("", false), ("a b", false), ("é", false), ("\t", false)]
    )
    func requestID(text: String, isTaken: Bool) {
        #expect((RequestID(Array(text.utf8)[...]) != nil) == isTaken)
        let long = [UInt8](repeating: 0x41, count: 128)
        #expect(RequestID(long[...]) != nil)
        #expect(RequestID((long + [0x41])[...]) == nil)
    }
}
