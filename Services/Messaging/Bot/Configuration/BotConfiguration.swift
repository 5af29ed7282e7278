internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON

/// What is configured for the bot of a conversation: bot, AI and platform together.
struct BotConfiguration: Sendable {
    /// The bot of a tenant that configured none.
    static let defaultName = "Healthcare Assistant"
    static let defaultLanguage = "vi"
    /// What a bot writes into its answer when a person should take over.
    static let defaultHandoverMarker = "[[handover]]"

    /// Where a configuration comes from.
    enum Source: String, Sendable {
        case database
        /// The database is away; this was read at most ten minutes ago.
        case lastGood = "last_good"
        /// The database is away, and nothing newer is known.
        case standard = "default"
    }

    /// The bot's id, or `default`.
    let sender: String
    let name: String
    let description: String
    let language: String
    let isActive: Bool
    /// Of the core AI.
    let provider: String
    let endpoint: String
    let authRequired: Bool
    let token: Secret?
    let model: String?
    let timeout: Duration
    /// Of the simulated provider: how long it thinks, and how often it fails, 0 to 1.
    let delay: Duration
    let failRate: Double
    /// Whether answers are remembered and given again to the same question.
    let remembersAnswers: Bool
    let handoverMarker: String
    /// The team that a handover by the bot goes to.
    let handoverTeam: String?
    /// Whether an answer is posted although a newer message came in.
    let postsAnyway: Bool
    var source: Source

    /// Reads `{bot, core_ai, token}`, as `claim_ai_jobs` and `bot_configuration` answer them.
    ///
    /// - Throws: `SecretBoxError` when the token does not open.
    init(_ document: JSON, tenant: UUID, secrets: SecretBox) throws {
        let bot = document["bot"] ?? .null
        let core = document["core_ai"] ?? .null
        let meta = core["meta_data"] ?? .null
        let wishes = bot["meta_data"] ?? .null
        sender = bot["id"]?.stringValue ?? "default"
        name = bot["name"]?.stringValue ?? BotConfiguration.defaultName
        description = bot["description"]?.stringValue ?? ""
        language = bot["language"]?.stringValue ?? BotConfiguration.defaultLanguage
        isActive = bot["is_active"]?.boolValue ?? true
        provider = meta["provider"]?.stringValue ?? "simulated"
        endpoint = core["api_endpoint"]?.stringValue ?? ""
        authRequired = core["auth_required"]?.boolValue ?? false
        token = try BotConfiguration.token(document, core: core, tenant: tenant, secrets: secrets)
        model = meta["model"]?.stringValue
        timeout = .seconds(core["timeout_seconds"]?.intValue ?? 30)
        delay = .milliseconds(meta["delay_ms"]?.intValue ?? 200)
        failRate = meta["fail_rate"]?.doubleValue ?? 0
        // The simulated provider costs nothing, so by default it thinks anew.
        remembersAnswers = meta["cache"]?.boolValue ?? (provider != "simulated")
        handoverMarker =
            wishes["handover_marker"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 }
            ?? BotConfiguration.defaultHandoverMarker
        handoverTeam = wishes["handover_team_id"]?.stringValue
        postsAnyway = wishes["on_new_message"]?.stringValue == "post"
        source = .database
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

extension BotConfiguration {
    /// The request for an answer to `turns`.
    func request(_ turns: [AITurn], consolidated: Int, jobID: UUID) -> AIRequest {
        let instruction = AITurn(
            role: .system,
            content: "You are \(name). \(description) Answer in the language \(language). If a "
                + "person should take over, write \(handoverMarker)."
        )
        return AIRequest(
            turns: [instruction] + turns,
            botName: name,
            consolidated: consolidated,
            endpoint: endpoint,
            authRequired: authRequired,
            token: token,
            model: model,
            timeout: timeout,
            delay: delay,
            failRate: failRate,
            jobID: jobID.text
        )
    }
}
