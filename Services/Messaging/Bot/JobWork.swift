internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform

/// A claimed job: what to answer, and by what means.
struct JobWork: Sendable {
    /// The bot of a tenant that configured none.
    static let defaultBotName = "Healthcare Assistant"
    static let defaultLanguage = "vi"

    let id: UUID
    let tenantID: UUID
    let tenant: String
    let conversationID: UUID
    let lockID: String
    let fence: Int64
    let attempts: Int
    let consolidated: Int
    /// The bot's id, or `default`.
    let sender: String
    let provider: String
    /// Whether the answer goes into the conversation; a `handle` call reads it at the job.
    let isPosted: Bool
    let request: AIRequest

    /// Reads what `messaging.claim_ai_jobs` answered.
    ///
    /// - Throws: `SecretBoxError` when the token does not open; `UnexpectedAnswer`.
    init(_ work: JSON, secrets: SecretBox) throws {
        guard let id = work["id"]?.stringValue.flatMap(UUID.init(uuidString:)),
            let tenantID = work["tenant_id"]?.stringValue.flatMap(UUID.init(uuidString:)),
            let conversation = work["conversation_id"]?.stringValue.flatMap(UUID.init(uuidString:)),
            let tenant = work["tenant"]?.stringValue, let fence = work["fence"]?.intValue
        else { throw UnexpectedAnswer(function: "claim_ai_jobs") }
        self.id = id
        self.tenantID = tenantID
        self.tenant = tenant
        self.fence = fence
        conversationID = conversation
        lockID = work["lock_id"]?.stringValue ?? ""
        attempts = Int(work["attempts"]?.intValue ?? 1)
        consolidated = Int(work["consolidated_messages"]?.intValue ?? 1)
        let bot = work["bot"] ?? .null
        sender = bot["id"]?.stringValue ?? "default"
        let core = work["core_ai"] ?? .null
        let meta = core["meta_data"] ?? .null
        provider = meta["provider"]?.stringValue ?? "simulated"
        isPosted = work["input"]?.isNull ?? true
        request = AIRequest(
            turns: JobWork.turns(work, bot: bot),
            botName: bot["name"]?.stringValue ?? JobWork.defaultBotName,
            consolidated: consolidated,
            endpoint: core["api_endpoint"]?.stringValue ?? "",
            token: try JobWork.token(work, core: core, tenantID: tenantID, secrets: secrets),
            model: meta["model"]?.stringValue,
            timeout: .seconds(core["timeout_seconds"]?.intValue ?? 30),
            delay: .milliseconds(meta["delay_ms"]?.intValue ?? 200),
            failRate: meta["fail_rate"]?.doubleValue ?? 0,
            jobID: id.text
        )
    }

    private static func turns(_ work: JSON, bot: JSON) -> [AITurn] {
        let name = bot["name"]?.stringValue ?? defaultBotName
        let language = bot["language"]?.stringValue ?? defaultLanguage
        let about = bot["description"]?.stringValue ?? ""
        var turns = [
            AITurn(
                role: .system,
                content: "You are \(name). \(about) Answer in the language \(language)."
            )
        ]
        if let given = work["input"]?["messages"]?.arrayValue {
            turns += given.compactMap { turn in
                guard let content = turn["content"]?.stringValue else { return nil }
                let role = turn["role"]?.stringValue.flatMap(AITurn.Role.init) ?? .user
                return AITurn(role: role, content: content)
            }
        }
        turns += (work["history"]?.arrayValue ?? []).compactMap { message in
            guard let text = message["text"]?.stringValue else { return nil }
            let isOurs = message["sender_kind"]?.stringValue != "contact"
            return AITurn(role: isOurs ? .assistant : .user, content: text)
        }
        return turns
    }

    private static func token(
        _ work: JSON,
        core: JSON,
        tenantID: UUID,
        secrets: SecretBox
    ) throws -> Secret? {
        guard let keyID = work["token"]?["key_id"]?.stringValue,
            let sealed = work["token"]?["sealed"]?.stringValue, let bytes = bytes(hex: sealed),
            let core = core["id"]?.stringValue
        else { return nil }
        return try secrets.open(
            SealedSecret(keyID: keyID, bytes: bytes),
            context: "\(tenantID.text)|core_ai|\(core)"
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
