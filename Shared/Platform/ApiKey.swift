internal import Crypto
internal import Coordination
internal import FoundationEssentials

/// A tenant's key as a caller shows it: `sb_<key id>_<secret>`.
public struct ApiKey: Sendable {
    /// The public part: it names the row.
    public let keyID: String
    let secret: Secret

    /// Makes a key with 8 random bytes of id and 32 of secret, both in hex.
    public static func make() -> ApiKey {
        var generator = SystemRandomNumberGenerator()
        func hex(_ count: Int) -> String {
            (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
                .hexadecimal
        }
        return ApiKey(keyID: hex(8), secret: Secret(hex(32)))
    }

    init(keyID: String, secret: Secret) {
        self.keyID = keyID
        self.secret = secret
    }

    /// Reads a key; `nil` when it has not the form of one.
    public init?(parsing text: String) {
        let bytes = Array(text.utf8)
        guard bytes.starts(with: "sb_".utf8),
            let middle = bytes[3...].firstIndex(of: UInt8(ascii: "_"))
        else { return nil }
        let (id, secret) = (bytes[3..<middle], bytes[(middle + 1)...])
        guard (1...64).contains(id.count), (16...128).contains(secret.count),
            id.allSatisfy(ApiKey.isPlain), secret.allSatisfy(ApiKey.isPlain)
        else { return nil }
        keyID = String(decoding: id, as: UTF8.self)
        self.secret = Secret(String(decoding: secret, as: UTF8.self))
    }

    /// The whole key, to be shown once.
    public func reveal() -> String { "sb_\(keyID)_\(secret.reveal())" }

    /// SHA-256 of the secret: what is stored.
    public var digest: [UInt8] { ApiKey.digest(secret) }

    static func digest(_ secret: Secret) -> [UInt8] {
        Array(SHA256.hash(data: Array(secret.reveal().utf8)))
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte) || (0x41...0x5a).contains(byte)
    }
}

func constantTimeEquals(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    constantTimeEquals(left.span, right.span)
}

/// Compares two byte strings in a time that depends on their lengths alone.
func constantTimeEquals(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    var difference: UInt8 = 0
    for index in left.indices { difference |= left[index] ^ right[index] }
    return difference == 0
}
