internal import Coordination
internal import FoundationEssentials
internal import JSON

/// Who is asked for an answer, and how.
struct CoreAI: Sendable {
    /// The provider of one that names none.
    static let defaultProvider = "simulated"

    let provider: String
    let endpoint: String
    /// Whether the endpoint wants the token; else it is not sent.
    let authRequired: Bool
    let token: Secret?
    let model: String?
    /// How long an answer may take.
    let timeout: Duration
    /// Of the simulated provider: how long it thinks, and how often it fails, 0 to 1.
    let delay: Duration
    let failRate: Double

    /// Reads `{core_ai, token}`; what is missing has its default.
    ///
    /// - Throws: `SecretBoxError` when the token does not open.
    init(_ document: JSON, tenant: UUID, secrets: SecretBox) throws {
        let core = document["core_ai"] ?? .null
        let meta = core["meta_data"] ?? .null
        provider = meta["provider"]?.stringValue ?? CoreAI.defaultProvider
        endpoint = core["api_endpoint"]?.stringValue ?? ""
        authRequired = core["auth_required"]?.boolValue ?? false
        token = try CoreAI.token(document, core: core, tenant: tenant, secrets: secrets)
        model = meta["model"]?.stringValue
        timeout = .seconds(core["timeout_seconds"]?.intValue ?? 30)
        delay = .milliseconds(meta["delay_ms"]?.intValue ?? 200)
        failRate = meta["fail_rate"]?.doubleValue ?? 0
    }

    private static func token(
        _ document: JSON,
        core: JSON,
        tenant: UUID,
        secrets: SecretBox
    ) throws -> Secret? {
        guard let keyID = document["token"]?["key_id"]?.stringValue,
            let sealed = document["token"]?["sealed"]?.stringValue,
            let bytes = bytes(hex: sealed), let core = core["id"]?.stringValue
        else { return nil }
        return try secrets.open(
            SealedSecret(keyID: keyID, bytes: bytes),
            context: "\(tenant.text)|core_ai|\(core)"
        )
    }

    private static func bytes(hex: String) -> [UInt8]? {
        let digits = hex.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == hex.utf8.count, digits.count.isMultiple(of: 2) else { return nil }
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(digits[$0] << 4 | digits[$0 + 1])
        }
    }
}
