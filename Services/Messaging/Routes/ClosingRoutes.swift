internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// The end of a conversation, and how long a message may still open it again.
@LoopActor
struct ClosingRoutes {
    /// The longest window, in seconds: ten years.
    static let windowMax = 315_360_000

    let conversations: ConversationRepository
    let settings: ConfigurationRepository
    /// Called after a conversation was closed.
    let committed: @LoopActor (Caller, UUID) async -> Void
    /// Called when that cancelled the bot's job.
    let silenced: @LoopActor (Caller, _ conversation: UUID, _ job: UUID) async -> Void

    var routes: [Route] { [close, window] }

    private var close: Route {
        Route(
            .post,
            "/v1/conversations/{id}/close",
            access: .roleOrService(.agent),
            summary: "Close a conversation",
            description: "The bot's job is cancelled and the session of people closed. The "
                + "contact's next message opens it again while the channel's reopen window lasts; "
                + "after that it begins a new conversation, which the answer to the message names.",
            tag: "Conversations",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(ClosingRoutes.reason),
            responses: [
                200: RouteResponse("It is closed.", schema: Schemas.reference("Conversation"))
            ],
            handler: { request in
                let caller = try request.caller()
                let id = try request.id()
                let reason = try request.readOptional(ClosingRoutes.reason)
                let result = try await conversations.close(caller, id, reason: reason)
                if result.outcome.name == "not_found" { throw Problem.notFound }
                if let job = result.cancelledJob { await silenced(caller, id, job) }
                await committed(caller, id)
                return .json(bytes: result.outcome.answer)
            }
        )
    }

    private var window: Route {
        Route(
            .put,
            "/v1/channels/{code}/reopening",
            access: .role(.admin),
            summary: "Set how long a message opens a closed conversation again",
            description: "`reopen_window_s`: 0 never, every message after the end begins a new "
                + "conversation; absent: always. Until it is set: 24 hours.",
            tag: "Configuration",
            requestSchema: JSONFields.schema(ClosingRoutes.seconds),
            responses: [200: RouteResponse("It is set.", schema: Schemas.free)],
            handler: { request in
                let code = request.parameters["code"]
                guard TextPattern.code.matches(code) else { throw Problem.notFound }
                let seconds = try request.readOptional(ClosingRoutes.seconds)
                let outcome = try await settings.putReopenWindow(
                    try request.caller(),
                    channel: code,
                    seconds: seconds
                )
                guard outcome.name == "updated" else { throw Problem.notFound }
                return .json(bytes: outcome.answer)
            }
        )
    }

    private static func reason(_ fields: inout JSONFields) -> String? {
        fields.optionalString("reason", length: 1...500)
    }

    private static func seconds(_ fields: inout JSONFields) -> Int? {
        fields.optionalInt("reopen_window_s", in: 0...windowMax)
    }
}
