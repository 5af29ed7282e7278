import Platform
import Testing

@Suite("Hexadecimal")
struct HexadecimalTests {
    @Test("every byte is two digits in lower case, in the order of the bytes")
    func digits() {
        #expect([UInt8]().hexadecimal == "")
        #expect([0x00, 0x0f, 0xa5, 0xff, 0x10].hexadecimal == "000fa5ff10")
    }
}
