internal import Coordination
internal import Crypto
internal import FoundationEssentials

/// The signature under a request of Slack: HMAC-SHA256 over `v0:<timestamp>:<body>`.
///
/// The body is signed as it came, byte by byte; nothing of it is read before the check.
struct SlackSignature: Sendable {
    /// How far the request's clock may be from ours: what is older may be a recording.
    static let toleranceSeconds: Int64 = 300

    /// Seconds since 1970.
    let timestamp: Int64
    private let timestampText: String
    private let digest: [UInt8]

    /// Reads `X-Slack-Request-Timestamp` and `X-Slack-Signature`; `nil` when they are none.
    init?(timestamp: String?, signature: String?) {
        // Plain digits: `Int64("+1")` and the like would pass for a number.
        guard let timestamp, (1...12).contains(timestamp.utf8.count),
            timestamp.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let seconds = Int64(timestamp), let signature, signature.hasPrefix("v0="),
            let digest = SlackSignature.bytes(hex: signature.dropFirst(3)), digest.count == 32
        else { return nil }
        self.timestamp = seconds
        timestampText = timestamp
        self.digest = digest
    }

    /// Whether the request was signed near `now`, in seconds since 1970.
    func isFresh(now: Int64) -> Bool {
        abs(now - timestamp) <= SlackSignature.toleranceSeconds
    }

    /// Whether `secret` signed these bytes; takes the same time whatever is wrong.
    func isValid(_ body: [UInt8], secret: Secret) -> Bool {
        let key = SymmetricKey(data: Data(secret.reveal().utf8))
        var signed = Array("v0:\(timestampText):".utf8)
        signed.append(contentsOf: body)
        return HMAC<SHA256>.isValidAuthenticationCode(digest, authenticating: signed, using: key)
    }

    private static func bytes(hex: Substring) -> [UInt8]? {
        let digits = hex.utf8.compactMap { byte -> UInt8? in
            switch byte {
            case 0x30...0x39: byte - 0x30
            case 0x61...0x66: byte - 0x57
            default: nil
            }
        }
        guard digits.count == hex.utf8.count, digits.count.isMultiple(of: 2) else { return nil }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}
