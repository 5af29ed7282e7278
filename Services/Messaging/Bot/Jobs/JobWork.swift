internal import Coordination
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import Tracing

/// A claimed job: what to answer, and by what means.
struct JobWork: Sendable {
    /// Who speaks in the message that marks the bot's return after people.
    static let returnMarker = "returned-to-bot"

    /// A job as one claim has it: who claims it again, after its lease, has another fence.
    struct Turn: Sendable, Hashable {
        let job: UUID
        let fence: Int64
    }

    let id: UUID
    let tenantID: UUID
    let tenant: String
    let conversationID: UUID
    let lockID: String
    let fence: Int64
    let attempts: Int
    let consolidated: Int
    /// Answers in a row that were superseded before this one.
    let supersedes: Int
    let bot: BotConfiguration
    /// Whether the answer goes into the conversation; else who brought the history reads it at the
    /// job.
    let isPosted: Bool
    /// The kind of the conversation's channel, such as `slack`.
    let channelKind: String
    let request: AIRequest
    /// The step that made the job; nil where nobody records.
    let trace: TraceParent?

    var turn: Turn { Turn(job: id, fence: fence) }

    /// Reads what `messaging.claim_ai_jobs` answered.
    ///
    /// - Throws: `SecretBoxError` when the token does not open; `UnexpectedAnswer`.
    init(_ work: JSON, secrets: SecretBox) throws {
        guard let id = work["id"]?.stringValue.flatMap(UUID.init(text:)),
            let tenantID = work["tenant_id"]?.stringValue.flatMap(UUID.init(text:)),
            let conversation = work["conversation_id"]?.stringValue.flatMap(UUID.init(text:)),
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
        supersedes = Int(work["supersedes"]?.intValue ?? 0)
        bot = try BotConfiguration(work, tenant: tenantID, secrets: secrets)
        isPosted = work["posts"]?.boolValue ?? false
        channelKind = work["channel_kind"]?.stringValue ?? "local"
        trace = work["traceparent"]?.stringValue.flatMap { TraceParent(text: $0) }
        request = bot.request(JobWork.turns(work), consolidated: consolidated, jobID: id)
    }

    /// A message's text, with the names of files that it does not name itself.
    private static func words(of message: JSON) -> String? {
        guard let text = message["text"]?.stringValue else { return nil }
        let files = (message["attachments"]?.arrayValue ?? [])
            .compactMap { $0["name"]?.stringValue }
            .map(Attachment.words)
        return ([text] + files.filter { !text.contains($0) }).joined(separator: "\n")
    }

    /// The history that the caller brought, then the conversation's own messages.
    private static func turns(_ work: JSON) -> [AITurn] {
        let given = (work["input"]?["messages"]?.arrayValue ?? []).compactMap(AITurn.init)
        let own = (work["history"]?.arrayValue ?? []).compactMap { message -> AITurn? in
            guard let text = words(of: message) else { return nil }
            if message["sender_id"]?.stringValue == returnMarker {
                return AITurn(
                    role: .system,
                    content: "People handled the conversation until here. You answer again."
                )
            }
            let isOurs = message["sender_kind"]?.stringValue != "contact"
            return AITurn(role: isOurs ? .assistant : .user, content: text)
        }
        return given + own
    }
}
