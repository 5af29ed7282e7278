internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Bots, core AI, platforms, and which bot speaks where.
@LoopActor
struct ConfigurationRoutes {
    let settings: ConfigurationRepository
    let configurations: BotConfigService

    var routes: [Route] {
        [
            putBot, find("/v1/bots/{id}", .bot, "A bot", "Bot"),
            putCoreAI,
            find("/v1/core-ai/{id}", .coreAI, "A core AI; its token is not shown", "CoreAI"),
            putPlatform, find("/v1/platforms/{id}", .platform, "A platform", "Platform"),
            channelBot, defaultBot,
        ] + BotPolicyRoutes(settings: settings, configurations: configurations).routes
    }

    private func find(
        _ path: String,
        _ kind: ConfigurationKind,
        _ summary: String,
        _ schema: String
    ) -> Route {
        Route(
            .get,
            path,
            access: .roleOrService(.viewer),
            summary: summary,
            tag: "Configuration",
            responses: [200: RouteResponse("It.", schema: Schemas.reference(schema))],
            handler: { request in
                let caller = try request.caller()
                guard let item = try await settings.find(caller, kind, try request.id()) else {
                    throw Problem.notFound
                }
                return .json(bytes: item)
            }
        )
    }

    private func put(
        _ path: String,
        _ summary: String,
        _ schema: String,
        _ body: JSON,
        _ handler: @escaping Route.Handler
    ) -> Route {
        Route(
            .put,
            path,
            access: .role(.admin),
            summary: summary,
            tag: "Configuration",
            requestSchema: body,
            responses: [
                200: RouteResponse("It was replaced.", schema: Schemas.reference(schema)),
                201: RouteResponse("It was made.", schema: Schemas.reference(schema)),
            ],
            handler: { [configurations] request in
                let response = try await handler(request)
                // Here it holds at once, in other processes within a minute.
                configurations.forget(try request.caller())
                return response
            }
        )
    }

    nonisolated private static func response(to outcome: Outcome) throws -> Response {
        switch outcome.name {
        case "created": return .json(201, bytes: outcome.answer)
        case "updated": return .json(200, bytes: outcome.answer)
        default:
            let fault = try JSON(parsing: outcome.answer)
            throw Problem.invalid(
                fault["pointer"]?.stringValue ?? "",
                fault["detail"]?.stringValue ?? "is not valid"
            )
        }
    }

    /// The id of the path, as the caller chose it.
    nonisolated private static func chosenID(_ request: Request) throws -> UUID {
        guard let id = UUID(text: request.parameters["id"]) else {
            throw Problem.invalid("/path/id", "must be a UUID")
        }
        return id
    }

    private var putBot: Route {
        put(
            "/v1/bots/{id}",
            "Make or replace a bot",
            "Bot",
            JSONFields.schema(ConfigurationRoutes.bot)
        ) { request in
            let id = try ConfigurationRoutes.chosenID(request)
            let body = try request.readOptional(ConfigurationRoutes.bot)
            return try ConfigurationRoutes.response(
                to: try await settings.put(try request.caller(), .bot, id, body)
            )
        }
    }

    private var putCoreAI: Route {
        put(
            "/v1/core-ai/{id}",
            "Make or replace a core AI",
            "CoreAI",
            JSONFields.schema(ConfigurationRoutes.coreAI)
        ) { request in
            let id = try ConfigurationRoutes.chosenID(request)
            let (body, token) = try request.readOptional(ConfigurationRoutes.coreAI)
            return try ConfigurationRoutes.response(
                to: try await settings.putCoreAI(try request.caller(), id, body, token: token)
            )
        }
    }

    private var putPlatform: Route {
        put(
            "/v1/platforms/{id}",
            "Make or replace a platform",
            "Platform",
            JSONFields.schema(ConfigurationRoutes.platform)
        ) { request in
            let id = try ConfigurationRoutes.chosenID(request)
            let body = try request.readOptional(ConfigurationRoutes.platform)
            return try ConfigurationRoutes.response(
                to: try await settings.put(try request.caller(), .platform, id, body)
            )
        }
    }

    private var channelBot: Route {
        put(
            "/v1/channels/{code}/bot",
            "Choose the bot of a channel",
            "Bot",
            JSONFields.schema(ConfigurationRoutes.fallback)
        ) { request in
            let code = request.parameters["code"]
            guard TextPattern.code.matches(code) else { throw Problem.notFound }
            return try await setBot(request, channel: code)
        }
    }

    private var defaultBot: Route {
        put(
            "/v1/tenant/default-bot",
            "Choose the bot of conversations without one",
            "Bot",
            JSONFields.schema(ConfigurationRoutes.fallback)
        ) { request in
            try await setBot(request, channel: nil)
        }
    }

    private func setBot(_ request: Request, channel: String?) async throws -> Response {
        let bot = try request.readOptional(ConfigurationRoutes.fallback)
        switch try await settings.setFallbackBot(try request.caller(), channel: channel, bot: bot) {
        case "updated":
            var answer: JSONObject = ["bot_id": JSON(bot?.text)]
            if let channel { answer["channel_code"] = .string(channel) }
            return .json(.object(answer))
        case "unknown_bot": throw Problem.invalid("/bot_id", "names no bot of this tenant")
        default: throw Problem.notFound
        }
    }
}

/// What bodies hold.
extension ConfigurationRoutes {
    fileprivate nonisolated static func bot(_ fields: inout JSONFields) -> JSON {
        [
            "name": .string(fields.string("name", length: 1...200)),
            "description": JSON(fields.optionalString("description", length: 0...2000)),
            "language": JSON(fields.optionalString("language", length: 2...35)),
            "is_active": JSON(fields.optionalBool("is_active")),
            "paused_until": JSON(fields.optionalDate("paused_until").map(RFC3339.string)),
            "hours": fields.optionalObject("hours", hours) ?? .null,
            "core_ai_id": JSON(fields.optionalUUID("core_ai_id")?.text),
            "platform_id": JSON(fields.optionalUUID("platform_id")?.text),
            "meta_data": .object(fields.optionalJSONObject("meta_data") ?? [:]),
        ]
    }

    private enum Weekday: String, CaseIterable { case mon, tue, wed, thu, fri, sat, sun }

    private nonisolated static func hours(_ fields: inout JSONFields) -> JSON {
        [
            "tz": .string(fields.string("tz", length: 1...64, pattern: .singleLine)),
            "windows": .array(
                fields.array("windows", count: 0...100) { window in
                    [
                        "day": .string(window.choice("day", of: Weekday.self).rawValue),
                        "from": .string(window.string("from", length: 5...5, pattern: .clock)),
                        "to": .string(window.string("to", length: 5...5, pattern: .clock)),
                    ]
                }
            ),
        ]
    }

    fileprivate nonisolated static func coreAI(_ fields: inout JSONFields) -> (JSON, String?) {
        let endpoint = fields.string("api_endpoint", length: 1...2000)
        if !endpoint.hasPrefix("https://"), !endpoint.hasPrefix("http://") {
            fields.fault("api_endpoint", "must be an http or https URL")
        }
        let body: JSON = [
            "name": .string(fields.string("name", length: 1...200)),
            "api_endpoint": .string(endpoint),
            "auth_required": JSON(fields.optionalBool("auth_required")),
            "timeout_seconds": JSON(fields.optionalInt("timeout_seconds", in: 1...600)),
            "meta_data": .object(fields.optionalJSONObject("meta_data") ?? [:]),
        ]
        return (body, fields.optionalString("auth_token", length: 0...4000))
    }

    fileprivate nonisolated static func platform(_ fields: inout JSONFields) -> JSON {
        [
            "name": .string(fields.string("name", length: 1...200)),
            "description": JSON(fields.optionalString("description", length: 0...2000)),
            "base_url": JSON(fields.optionalString("base_url", length: 1...2000)),
            "auth_required": JSON(fields.optionalBool("auth_required")),
            "meta_data": .object(fields.optionalJSONObject("meta_data") ?? [:]),
        ]
    }

    fileprivate nonisolated static func fallback(_ fields: inout JSONFields) -> UUID? {
        fields.optionalUUID("bot_id")
    }
}
