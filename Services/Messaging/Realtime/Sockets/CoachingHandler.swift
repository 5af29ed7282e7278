internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import PostgresClient

/// `coaching.*`: advice on a draft, from the AI of the conversation's bot.
///
/// Nothing is posted.
@LoopActor
struct CoachingHandler: SocketHandler {
    /// The longest draft, in Unicode scalars.
    static let draftMax = 8000
    /// What the AI is told before the draft.
    static let instruction =
        "You coach a support agent. Below is a draft of the agent's next message, then the "
        + "conversation. Say in at most five sentences what to improve. Do not write to the "
        + "customer.\n\nDraft:\n"

    let postgres: PostgresClient
    let secrets: SecretBox
    /// Asks the AI that some work names.
    let advise: @LoopActor (JobWork) async throws(AIProviderError) -> AIAnswer

    var events: [String: SocketEvent] { ["coaching.request": SocketEvent(.agent, request)] }

    private func request(_ call: SocketCall) async throws -> [UInt8] {
        let (conversation, draft) = try call.fields { fields in
            (
                fields.conversation(),
                fields.string("draft", length: 1...CoachingHandler.draftMax)
            )
        }
        guard var document = try await work(call.caller, conversation) else {
            throw Problem.notFound
        }
        document["input"] = [
            "messages": [
                ["role": "user", "content": .string(CoachingHandler.instruction + draft)]
            ]
        ]
        let work = try JobWork(.object(document), secrets: secrets)
        do {
            let answer = try await advise(work)
            return JSON.object(["advice": .string(answer.text)]).serialized()
        } catch {
            var problem = Problem(
                status: 502,
                code: "ai_failed",
                detail: "the AI gave no advice: \(error.description)"
            )
            problem.retryable = !error.isFinal
            throw problem
        }
    }

    private func work(_ caller: Caller, _ conversation: UUID) async throws -> JSONObject? {
        let text = try await postgres.query(
            "select messaging.coaching_work($1, $2, $3) work",
            [.uuid(caller.tenant), .string(caller.code), .uuid(conversation)],
            idempotent: true
        ).one().optionalUTF8("work")
        return try text.flatMap { try JSON(parsing: $0, limits: .foreign).objectValue }
    }
}
