internal import Coordination
internal import EventLoop
internal import JSON

/// One turn of a conversation, as a provider sees it.
struct AITurn: Sendable, Hashable {
    enum Role: String, Sendable, CaseIterable {
        case system, user, assistant
    }

    let role: Role
    let content: String

    init(role: Role, content: String) {
        self.role = role
        self.content = content
    }

    /// A stored turn; `nil` when it is none.
    init?(_ document: JSON) {
        guard let content = document["content"]?.stringValue,
            let role = document["role"]?.stringValue.flatMap(Role.init)
        else { return nil }
        self.init(role: role, content: content)
    }

    var document: JSON { ["role": .string(role.rawValue), "content": .string(content)] }
}

/// What a provider is asked.
struct AIRequest: Sendable {
    let turns: [AITurn]
    let botName: String
    /// Messages that this answer is for.
    let consolidated: Int
    let core: CoreAI
    /// The job's id, which identifies the call to the other side's support.
    let jobID: String
}

/// What a provider answered.
struct AIAnswer: Sendable, Hashable {
    /// The longest answer that is kept, in code points; a longer one is cut and ends with `…`.
    static let lengthLimit = 8000

    let text: String
    /// Tokens billed, when the provider says so.
    var tokens: Int?
    /// Whether it was remembered from an earlier question.
    var isRemembered = false

    /// An answer as far as it can be shown: what a model writes is not trusted.
    init(text: String, tokens: Int? = nil) {
        self.text = AnswerText.inert(text)
        self.tokens = tokens
    }
}

/// Why there is no answer.
struct AIProviderError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Whether trying again is of no use.
    let isFinal: Bool
    /// What happened, without any part of the conversation or of a token.
    let description: String
    /// How long the provider asks to wait.
    var retryAfter: Duration?
}

/// Writes the bot's answers.
@LoopActor
protocol AIProvider: AnyObject {
    /// The answer to the last turns of a conversation. Cancelling the task aborts the call.
    func answer(_ request: AIRequest) async throws(AIProviderError) -> AIAnswer
}
