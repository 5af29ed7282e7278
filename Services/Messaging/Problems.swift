internal import HTTPClient
internal import HTTPServer

extension Problem {
    /// A callee that gave no answer, or one that says it cannot now.
    static func unreachable(_ service: String, _ error: HTTPClientError) -> Problem {
        .unavailable("\(service) gave no answer: \(error.code)")
    }

    /// Nobody but its contact opens a conversation again.
    static let conversationClosed = Problem.conflict(
        "conversation_closed",
        "the conversation is closed"
    )
}
