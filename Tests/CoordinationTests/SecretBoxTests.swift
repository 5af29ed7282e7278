import Foundation
import Testing

@testable import Coordination

@Suite("Secret and SecretBox")
struct SecretBoxTests {
    private static let one = Data(repeating: 1, count: 32).base64EncodedString()
    private static let two = Data(repeating: 2, count: 32).base64EncodedString()

    @Test("a secret never prints")
    func prints() {
        let secret = Secret("xoxb-canary")
        #expect("\(secret)" == "***")
        #expect(String(reflecting: secret) == "***")
        var text = ""
        dump(secret, to: &text)
        dump(["token": secret], to: &text)
        #expect(!text.contains("canary"))
    }

    @Test("what is sealed opens in its own place and in no other")
    func places() throws {
        let box = try SecretBox(parsing: SecretBoxTests.one)
        let sealed = try box.seal(Secret("token"), context: "t1|slack_token|w1")
        #expect(try box.open(sealed, context: "t1|slack_token|w1").reveal() == "token")
        #expect(throws: SecretBoxError.self) {
            try box.open(sealed, context: "t2|slack_token|w1")
        }
        var bytes = sealed.bytes
        bytes[bytes.count - 1] ^= 1
        #expect(throws: SecretBoxError.self) {
            try box.open(
                SealedSecret(keyID: sealed.keyID, bytes: bytes),
                context: "t1|slack_token|w1"
            )
        }
    }

    @Test("sealing twice gives different bytes")
    func nonces() throws {
        let box = try SecretBox(parsing: SecretBoxTests.one)
        #expect(
            try box.seal(Secret("token"), context: "c").bytes
                != box.seal(Secret("token"), context: "c").bytes
        )
    }

    @Test("a new key in front seals; the old one still opens")
    func rotation() throws {
        let old = try SecretBox(parsing: "a:\(SecretBoxTests.one)")
        let sealed = try old.seal(Secret("token"), context: "c")
        let rotated = try SecretBox(
            parsing: "b:\(SecretBoxTests.two),a:\(SecretBoxTests.one)"
        )
        #expect(try rotated.open(sealed, context: "c").reveal() == "token")
        #expect(!rotated.isCurrent(sealed))
        let anew = try rotated.seal(Secret("token"), context: "c")
        #expect(rotated.isCurrent(anew))
        #expect(throws: SecretBoxError.self) { try old.open(anew, context: "c") }
    }

    @Test("a malformed key is refused without being shown", arguments: ["", "abc", "a:", "a:AAAA"])
    func malformed(setting: String) {
        #expect(throws: SecretBoxError.self) { try SecretBox(parsing: setting) }
    }
}
