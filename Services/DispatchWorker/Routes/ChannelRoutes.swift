internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Channels: where a workspace's messages go, and how fast.
@LoopActor
struct ChannelRoutes {
    let repository: ConfigurationRepository
    /// Called after a change: messaging is to hear of it.
    let committed: @LoopActor () -> Void

    var routes: [Route] { [put, find, localOutbox] }

    private var put: Route {
        Route(
            .put,
            "/v1/channels/{code}",
            access: .role(.admin),
            summary: "Make or change a channel",
            description: "What is not named keeps its value. In its quiet hours (local times, "
                + "which may cross midnight) only priority 0 leaves: `from` and `to` of every day, or "
                + "`windows` by the day of the week, and other windows on the dates of `exceptions`. "
                + "`{}` ends them.",
            tag: "Configuration",
            requestSchema: JSONFields.schema(draft),
            responses: [
                200: RouteResponse("It was changed.", schema: Schemas.reference("Channel")),
                201: RouteResponse("It was made.", schema: Schemas.reference("Channel")),
            ],
            handler: { request in
                let tenant = try Tenant(request)
                let code = try request.code()
                let draft = try request.read(draft)
                let answer = try await repository.put(
                    tenant,
                    channel: code,
                    draft,
                    AuditNote(request)
                )
                if answer["missing"] == "tz" {
                    throw Problem.invalid("/quiet_hours/tz", "is no time zone like Europe/Berlin")
                }
                guard let channel = answer["channel"] else {
                    throw Problem.invalid("/workspace_code", "names no workspace of this tenant")
                }
                committed()
                return .json(answer["created"] == true ? 201 : 200, channel)
            }
        )
    }

    private func draft(_ fields: inout JSONFields) -> ChannelDraft {
        let rate = fields.optionalObject("rate") { rate in
            (
                perSecond: rate.optionalDouble("per_second", in: 0.001...1000),
                burst: rate.optionalInt("burst", in: 1...100)
            )
        }
        return ChannelDraft(
            workspaceCode: fields.code("workspace_code"),
            providerChannelID: fields.string(
                "provider_channel_id",
                length: 1...80,
                pattern: .visible
            ),
            policy: fields.optionalChoice("unknown_policy", of: UnknownPolicy.self),
            perSecond: rate?.perSecond,
            burst: rate?.burst,
            quietHours: fields.optionalObject("quiet_hours", QuietHours.document)
        )
    }

    private var find: Route {
        Route(
            .get,
            "/v1/channels/{code}",
            access: .role(.admin),
            summary: "A channel",
            tag: "Configuration",
            responses: [200: RouteResponse("It.", schema: Schemas.reference("Channel"))],
            handler: { request in
                guard
                    let found = try await repository.channel(
                        try Tenant(request),
                        request.parameters["code"]
                    )
                else { throw Problem.notFound }
                return .json(200, found)
            }
        )
    }

    private var localOutbox: Route {
        Route(
            .get,
            "/v1/local-outbox",
            access: .roleOrService(.viewer),
            summary: "What the embedded transport delivered, the newest first",
            tag: "Message requests",
            queryParameters: [
                QueryParameter("channel_code", "Only what this channel got.")
            ] + Page.parameters,
            responses: [200: RouteResponse("A page.", schema: Schemas.list(of: "LocalDelivery"))],
            handler: { request in
                let limit =
                    try request.query.int("limit", in: Page.limits) ?? Page.limitDefault
                let cursor = request.query["cursor"]
                if let cursor, !MessageRequestBody.threadTS.matches(cursor) {
                    throw Problem.invalid("/query/cursor", "is not a cursor of this list")
                }
                let items = try await repository.localOutbox(
                    try Tenant(request),
                    channel: request.query["channel_code"],
                    limit: limit,
                    before: cursor
                )
                let page = Array(items.prefix(limit))
                let next = items.count > limit ? page.last?["ts"]?.stringValue : nil
                return .json(200, ["items": .array(page), "next_cursor": JSON(next)])
            }
        )
    }
}
