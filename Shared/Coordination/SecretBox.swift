internal import Crypto
internal import FoundationEssentials

/// A secret at rest: ciphertext, and the id of the key that opens it.
public struct SealedSecret: Sendable, Hashable {
    /// Which key of the box sealed it.
    public let keyID: String
    /// Nonce, ciphertext and tag in one (AES-GCM's combined form).
    public let bytes: [UInt8]

    /// A sealed secret as it was stored.
    public init(keyID: String, bytes: [UInt8]) {
        self.keyID = keyID
        self.bytes = bytes
    }
}

/// Why a secret could not be sealed, opened, or a key not be read.
public struct SecretBoxError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What went wrong, without any part of a key or secret.
    public let description: String
}

/// Seals secrets with AES-256-GCM under one of several keys, told apart by their ids.
///
/// A secret is bound to its place (tenant, kind, reference): moved to another row, it does not open.
/// The first key seals; all of them open, so a key is rotated by putting the new one in front and
/// sealing anew whatever ``isCurrent(_:)`` says is not.
public struct SecretBox: Sendable {
    private let keys: [(id: String, key: SymmetricKey)]

    /// Reads `SECRETS_KEY`: 32 bytes in base64, or several as `id:base64,id:base64`, newest first.
    ///
    /// - Throws: ``SecretBoxError`` that says which entry is wrong and what is expected.
    public init(parsing setting: String) throws(SecretBoxError) {
        var keys: [(id: String, key: SymmetricKey)] = []
        for entry in setting.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = entry.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let id = parts.count == 2 ? String(parts[0]) : "k1"
            guard let text = parts.last, let data = Data(base64Encoded: String(text)),
                data.count == 32, !id.isEmpty
            else {
                throw SecretBoxError(
                    description: "SECRETS_KEY entry \(keys.count + 1) is not 32 bytes in base64; "
                        + "make one with: openssl rand -base64 32"
                )
            }
            guard !keys.contains(where: { $0.id == id }) else {
                throw SecretBoxError(description: "SECRETS_KEY names key \(id) twice")
            }
            keys.append((id, SymmetricKey(data: data)))
        }
        self.keys = keys
    }

    /// Seals `secret` for the place that `context` names, such as `tenant|slack_token|T1`.
    ///
    /// - Throws: ``SecretBoxError``; AES-GCM fails only when the system has no randomness.
    public func seal(_ secret: Secret, context: String) throws(SecretBoxError) -> SealedSecret {
        guard let current = keys.first else {
            throw SecretBoxError(description: "there is no key to seal with")
        }
        do {
            let box = try AES.GCM.seal(
                Data(secret.reveal().utf8),
                using: current.key,
                authenticating: Data("\(context)|\(current.id)".utf8)
            )
            return SealedSecret(keyID: current.id, bytes: Array(box.combined ?? Data()))
        } catch {
            throw SecretBoxError(description: "sealing failed: \(error)")
        }
    }

    /// Opens a secret that was sealed for `context`.
    ///
    /// - Throws: ``SecretBoxError`` when the key is not there, the bytes were changed, or the secret
    ///   belongs to another place.
    public func open(_ sealed: SealedSecret, context: String) throws(SecretBoxError) -> Secret {
        guard let key = keys.first(where: { $0.id == sealed.keyID })?.key else {
            throw SecretBoxError(
                description: "SECRETS_KEY has no key \(sealed.keyID), which sealed this secret"
            )
        }
        do {
            let box = try AES.GCM.SealedBox(combined: sealed.bytes)
            let data = try AES.GCM.open(
                box,
                using: key,
                authenticating: Data("\(context)|\(sealed.keyID)".utf8)
            )
            return Secret(String(decoding: data, as: UTF8.self))
        } catch {
            throw SecretBoxError(
                description: "the sealed secret does not open: it was changed, or is not of here"
            )
        }
    }

    /// Whether `sealed` was made with the newest key.
    public func isCurrent(_ sealed: SealedSecret) -> Bool {
        sealed.keyID == keys.first?.id
    }
}
