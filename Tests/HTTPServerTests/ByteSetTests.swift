import Testing

@testable import HTTPServer

@Suite("ByteSet")
struct ByteSetTests {
    private func members(_ set: ByteSet) -> String {
        String(
            decoding: (0...255).map { UInt8($0) }.filter(set.contains),
            as: UTF8.self
        )
    }

    private func members(where isMember: (UInt8) -> Bool) -> [UInt8] {
        (0...255).map { UInt8($0) }.filter(isMember)
    }

    @Test("the sets hold exactly the bytes that the standards list")
    func sets() {
        let digits = "0123456789"
        let capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        let letters = capitals + capitals.lowercased()
        let visible = (0x21...0x7e).map { String(UnicodeScalar(UInt8($0))) }.joined()
        func sorted(_ text: String) -> String {
            String(text.unicodeScalars.sorted().map(Character.init))
        }

        #expect(members(.token) == sorted("!#$%&'*+-.^_`|~" + digits + letters))
        #expect(members(.plainTarget) == visible.filter { !"%?#".contains($0) })
        #expect(members(.hex) == sorted(digits + "ABCDEFabcdef"))
        #expect(members(.registeredName) == sorted("-._~!$&'()*+;=" + digits + letters))
        #expect(members(.quotedText) == "\t " + visible.filter { !"\"\\".contains($0) })
    }

    @Test("single bytes are classified and converted as they should be")
    func bytes() {
        #expect(
            members(where: \.isFieldContent) == [9] + (0x20...0x7e).map { $0 }
                + (0x80...0xff).map { $0 }
        )
        #expect(members(where: \.isBlank) == [9, 0x20])
        #expect(members(where: \.isDigit) == latin1("0123456789"))
        #expect(members { $0.lowercased != $0 } == latin1("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        #expect(latin1("ABYZ").map(\.lowercased) == latin1("abyz"))
        #expect(members { $0.hexValue != nil } == latin1("0123456789ABCDEFabcdef"))
        #expect(latin1("09afAF").map(\.hexValue) == [0, 9, 10, 15, 10, 15])
    }
}
