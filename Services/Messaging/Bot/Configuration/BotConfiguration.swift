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
    /// Whether it answered when this was read: it is active, not paused, and it was one of its hours.
    let answers: Bool
    let core: CoreAI
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
        let wishes = bot["meta_data"] ?? .null
        sender = bot["id"]?.stringValue ?? "default"
        name = bot["name"]?.stringValue ?? BotConfiguration.defaultName
        description = bot["description"]?.stringValue ?? ""
        language = bot["language"]?.stringValue ?? BotConfiguration.defaultLanguage
        answers = bot["answers_now"]?.boolValue ?? true
        core = try CoreAI(document, tenant: tenant, secrets: secrets)
        // The simulated provider costs nothing, so by default it thinks anew.
        remembersAnswers =
            document["core_ai"]?["meta_data"]?["cache"]?.boolValue
            ?? (core.provider != CoreAI.defaultProvider)
        handoverMarker =
            wishes["handover_marker"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 }
            ?? BotConfiguration.defaultHandoverMarker
        handoverTeam = wishes["handover_team_id"]?.stringValue
        postsAnyway = wishes["on_new_message"]?.stringValue == "post"
        source = .database
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
            core: core,
            jobID: jobID.text
        )
    }
}
