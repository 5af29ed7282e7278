internal import FoundationEssentials
internal import JSON

/// What a caller asks the bot to answer: a history of its own.
struct HandleRequest: Sendable {
    let conversation: UUID
    let turns: [AITurn]
    /// Kept with the job; not sent to the provider.
    let resources: JSONObject?

    /// As the job keeps it.
    var input: JSON {
        var input: JSONObject = ["messages": .array(turns.map(\.document))]
        if let resources { input["resources"] = .object(resources) }
        return .object(input)
    }
}

/// What became of a request for a job.
enum JobStart: Sendable {
    /// The lock was taken and a job made.
    case started(job: String, lockID: String, consolidated: Int)
    /// Somebody works on the conversation; `buffered`: the request is in a job nevertheless.
    case locked(buffered: Bool, pending: Int)
    case inactive
    /// A person owns the conversation.
    case human
}
