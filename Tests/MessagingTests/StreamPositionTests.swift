import Foundation
import JSON
import Testing

@testable import messaging

@Suite("StreamPosition")
struct StreamPositionTests {
    private let one = UUID()
    private let two = UUID()

    @Test("of one conversation the position is its seq")
    func single() {
        var position = StreamPosition(conversations: [one])
        let isRead = position.read("17")
        #expect(isRead)
        #expect(position.seqs == [one: 17])
    }

    @Test("of several it names each that has one, and reads what it wrote")
    func several() {
        var position = StreamPosition(conversations: [one, two])
        position.reached(3, of: two)
        #expect(position.text == "\(two.text):3")
        position.reached(7, of: one)
        #expect(position.text == "\(one.text):7,\(two.text):3")
        var read = StreamPosition(conversations: [one, two])
        let isRead = read.read(position.text)
        #expect(isRead)
        #expect(read == position)
    }

    @Test("what is no position is refused")
    func malformed() {
        for text in [
            "x", "-1", "+1", "1.0", "9999999999999999999", "\(one.text)", "\(one.text):",
            "\(one.text):x", ":1", "\(UUID().text):1", "\(one.text):1,", "\(one.text):1:2",
        ] {
            var position = StreamPosition(conversations: [one])
            let isRead = position.read(text)
            #expect(!isRead, "\(text)")
        }
        var position = StreamPosition(conversations: [one, two])
        let isRead = position.read("17")
        #expect(!isRead)
    }
}
