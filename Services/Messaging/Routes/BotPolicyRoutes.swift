internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What a tenant decides for all its bots, and how bursts are answered on a channel.
@LoopActor
struct BotPolicyRoutes {
    let settings: ConfigurationRepository
    let configurations: BotConfigService

    var routes: [Route] { [find, put, mailbox] }

    private var find: Route {
        Route(
            .get,
            "/v1/tenant/bot-policy",
            access: .roleOrService(.viewer),
            summary: "What the tenant decides for all its bots",
            tag: "Configuration",
            responses: [200: RouteResponse("It.", schema: Schemas.free)],
            handler: { [settings] request in
                .json(200, try await settings.botPolicy(try request.caller()))
            }
        )
    }

    private var put: Route {
        Route(
            .put,
            "/v1/tenant/bot-policy",
            access: .role(.admin),
            summary: "Decide for all bots of the tenant",
            description: "`allow_default_bot`: whether the built-in bot may answer where none is "
                + "configured or known. `control_words`: words beside `stop` and `agent` that "
                + "silence the bot or ask for a person. `handoff_expires_after_s`: so long after "
                + "people got a conversation it goes back to the bot unless one of them has "
                + "written; 0 for never. What is absent stays.",
            tag: "Configuration",
            requestSchema: JSONFields.schema(BotPolicyRoutes.policy),
            responses: [200: RouteResponse("It is.", schema: Schemas.free)],
            handler: { [settings, configurations] request in
                let caller = try request.caller()
                let wished = try request.readOptional(BotPolicyRoutes.policy)
                let policy = try await settings.putBotPolicy(
                    caller,
                    allowsDefault: wished.allowsDefault,
                    controlWords: wished.words,
                    handoffSeconds: wished.handoff
                )
                await configurations.renew(caller)
                return .json(200, policy)
            }
        )
    }

    private static func policy(
        _ fields: inout JSONFields
    ) -> (allowsDefault: Bool?, words: JSON?, handoff: Int?) {
        let allows = fields.optionalBool("allow_default_bot")
        let words = fields.optionalObject("control_words") { words -> JSON in
            [
                "stop": JSON(BotPolicyRoutes.words(&words, "stop")),
                "agent": JSON(BotPolicyRoutes.words(&words, "agent")),
            ]
        }
        return (allows, words, fields.optionalInt("handoff_expires_after_s", in: 0...2_592_000))
    }

    nonisolated private static func words(_ fields: inout JSONFields, _ name: String) -> [String] {
        fields.optionalStrings(
            name,
            count: 0...ControlWords.countMax,
            length: 1...ControlWords.bytesMax
        ) ?? []
    }

    private var mailbox: Route {
        Route(
            .put,
            "/v1/channels/{code}/mailbox",
            access: .role(.admin),
            summary: "Set how bursts of messages are answered on a channel",
            description: "`debounce_ms`: how long the bot waits for the next message of a burst, "
                + "0 answers each at once; `debounce_max_ms`: at most so long; `debounce_count`: "
                + "so many messages are answered at once. What is absent is as everywhere.",
            tag: "Configuration",
            requestSchema: JSONFields.schema(BotPolicyRoutes.burst),
            responses: [200: RouteResponse("They are.", schema: Schemas.free)],
            handler: { [settings] request in
                let code = request.parameters["code"]
                guard TextPattern.code.matches(code) else { throw Problem.notFound }
                let outcome = try await settings.putMailbox(
                    try request.caller(),
                    channel: code,
                    try request.readOptional(BotPolicyRoutes.burst)
                )
                guard outcome.name == "updated" else { throw Problem.notFound }
                return .json(bytes: outcome.answer)
            }
        )
    }

    private static func burst(_ fields: inout JSONFields) -> JSON {
        [
            "debounce_ms": JSON(fields.optionalInt("debounce_ms", in: 0...60_000)),
            "debounce_max_ms": JSON(fields.optionalInt("debounce_max_ms", in: 0...600_000)),
            "debounce_count": JSON(fields.optionalInt("debounce_count", in: 1...1000)),
        ]
    }
}
