internal import Coordination
internal import Crypto
internal import FoundationEssentials

/// How the receiver of a webhook knows that it is ours, and recent: the scheme of Standard Webhooks.
///
/// `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
enum WebhookSignature {
    /// The header fields of a delivery.
    ///
    /// - Parameters:
    ///   - id: the same at every attempt, so that a repeat can be recognised.
    ///   - seconds: now, since 1970.
    static func fields(
        id: String,
        body: [UInt8],
        secret: Secret,
        seconds: Int64
    ) -> [(name: String, value: String)] {
        let signed = Array("\(id).\(seconds).".utf8) + body
        let key = SymmetricKey(data: Array(secret.reveal().utf8))
        let code = HMAC<SHA256>.authenticationCode(for: signed, using: key)
        return [
            ("Content-Type", "application/json"), ("User-Agent", "switchboard"),
            ("webhook-id", id), ("webhook-timestamp", "\(seconds)"),
            ("webhook-signature", "v1,\(Data(code).base64EncodedString())"),
        ]
    }
}
