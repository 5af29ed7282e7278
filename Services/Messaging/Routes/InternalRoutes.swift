internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What the other services tell; a tenant's key is refused.
@LoopActor
struct InternalRoutes {
    let messages: MessageRepository
    let conversations: ConversationRepository
    let settings: ConfigurationRepository
    /// Called after a commit that changed a conversation.
    let committed: @LoopActor (Caller, UUID) async -> Void
    /// Called when a change of the owner cancelled the bot's job.
    let silenced: @LoopActor (Caller, _ conversation: UUID, _ job: UUID) async -> Void

    var routes: [Route] { [delivery, assignment, channel] }

    private func route(
        _ path: String,
        _ summary: String,
        _ handler: @escaping Route.Handler
    ) -> Route {
        Route(
            .post,
            path,
            access: .service,
            summary: summary,
            tag: "Internal",
            // Each carries a version, and what is not newer changes nothing: a repeat needs no record.
            requestSchema: Schemas.free,
            responses: [200: RouteResponse("It is noted.", schema: Schemas.free)],
            handler: handler
        )
    }

    private var delivery: Route {
        route("/v1/internal/delivery", "What became of a message request") { request in
            let news = try request.readOptional { fields in
                // What a sender may tell beyond what is needed here is not a fault.
                fields.ignoreUnknownMembers()
                return DeliveryNews(
                    request: fields.uuid("message_request_id"),
                    generation: fields.int("generation", in: 0...1_000_000),
                    version: fields.int("version", in: 0...Int(Int32.max)),
                    status: fields.string("status", length: 1...40),
                    providerTS: fields.optionalString("provider_ts", length: 0...255),
                    error: fields.optionalJSON("error").map { $0.stringValue ?? $0.text }
                )
            }
            try await FaultPoints.reached("delivery.before_commit")
            let outcome = try await messages.applyDelivery(try request.caller(), news)
            try await FaultPoints.reached("delivery.applied")
            // A request that no message asked for came through dispatch-worker's own API.
            return .json(["outcome": .string(outcome)])
        }
    }

    private var assignment: Route {
        route("/v1/internal/assignment", "A session changed hands") { request in
            let change = try request.readOptional { fields in
                fields.ignoreUnknownMembers()
                return OwnerChange(
                    conversation: fields.conversation(),
                    session: fields.uuid("session_id"),
                    version: fields.int("version", in: 0...Int(Int32.max)),
                    state: fields.string("state", length: 1...40),
                    owner: fields.optionalChoice("owner", of: OwnerKind.self)?.rawValue,
                    assignee: fields.optionalUUID("assignee_id"),
                    reason: fields.optionalString("reason", length: 0...500)
                )
            }
            let caller = try request.caller()
            try await FaultPoints.reached("owner.before_commit")
            let result = try await conversations.applyAssignment(caller, change)
            try await FaultPoints.reached("owner.applied")
            if let job = result.cancelledJob {
                await silenced(caller, change.conversation, job)
            }
            await committed(caller, change.conversation)
            return .json(["outcome": .string(result.outcome)])
        }
    }

    enum OwnerKind: String, CaseIterable {
        case bot, human, none
    }

    enum ChannelKind: String, CaseIterable {
        case local, slack, webhook
    }

    private var channel: Route {
        route("/v1/internal/channels", "A channel was configured") { request in
            let caller = try request.caller()
            let (code, version, body) = try request.readOptional { fields in
                fields.ignoreUnknownMembers()
                let code = fields.code("code")
                let version = fields.optionalInt("version", in: 0...Int(Int32.max)) ?? 0
                let body: JSON = [
                    "kind": .string(fields.choice("kind", of: ChannelKind.self).rawValue),
                    "workspace_code": JSON(fields.optionalCode("workspace_code")),
                    "team_id": JSON(fields.optionalString("team_id", length: 1...255)),
                    "team_verified": .bool(fields.optionalBool("team_verified") ?? false),
                    "api_app_id": JSON(fields.optionalString("api_app_id", length: 1...255)),
                    "provider_channel_id": JSON(
                        fields.optionalString("provider_channel_id", length: 1...255)
                    ),
                ]
                return (code, version, body)
            }
            let outcome = try await settings.putChannel(caller, code, version: version, body)
            return .json(bytes: outcome.answer)
        }
    }
}
