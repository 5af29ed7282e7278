internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What failed, by cause, and doing something about many requests at once.
@LoopActor
struct ReplayRoutes {
    /// How fast a replay is spread when nobody says.
    static let perSecondDefault = 5.0
    /// The fastest replay: a tenant's fair share.
    static let perSecondMax = 50.0

    let repository: OperationsRepository
    /// Called after a commit that left something to send.
    let committed: @LoopActor () -> Void

    var routes: [Route] { [deadLetters, replay, cancel] }

    private var deadLetters: Route {
        Route(
            .get,
            "/v1/dead-letters",
            access: .roleOrService(.viewer),
            summary: "Requests that failed, grouped by cause, the most frequent first",
            tag: "Operations",
            queryParameters: [
                QueryParameter("channel_code", "Only those of this channel."),
                QueryParameter("template_code", "Only those of this template."),
            ],
            responses: [200: RouteResponse("They.", schema: Schemas.list(of: "Cause"))],
            handler: { request in
                var filter: JSONObject = [:]
                for name in ["channel_code", "template_code"] {
                    if let value = request.query[name] { filter[name] = .string(value) }
                }
                let causes = try await repository.causes(try Tenant(request), .object(filter))
                return .json(200, ["items": causes["causes"] ?? [], "next_cursor": .null])
            }
        )
    }

    private var replay: Route {
        Route(
            .post,
            "/v1/message-requests/replay",
            access: .role(.operator),
            summary: "Send what a filter names once more, as new generations",
            description: "With `dry_run` nothing changes and the answer counts by cause. A replay "
                + "is spread to `per_second`, behind the replays before it; one call takes "
                + "\(OperationsRepository.bulkMax) requests at most and says whether there are `more`.",
            tag: "Operations",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(ReplayRoutes.order),
            responses: [
                200: RouteResponse(
                    "What would be replayed.",
                    schema: Schemas.reference("ReplayPreview")
                ),
                202: RouteResponse("What is replayed.", schema: Schemas.reference("Replay")),
            ],
            handler: { request in
                let order = try request.read(ReplayRoutes.order)
                let tenant = try Tenant(request)
                guard !order.isDryRun else {
                    let causes = try await repository.causes(tenant, order.filter)
                    return .json(
                        200,
                        [
                            "dry_run": true, "count": causes["count"] ?? 0,
                            "per_call": .int(Int64(OperationsRepository.bulkMax)),
                            "causes": causes["causes"] ?? [],
                        ]
                    )
                }
                let answer = try await repository.replay(
                    tenant,
                    order.filter,
                    perSecond: order.perSecond,
                    AuditNote(request, reason: order.reason)
                )
                committed()
                return .json(202, answer)
            }
        )
    }

    private struct Order {
        let filter: JSON
        let isDryRun: Bool
        let perSecond: Double
        let reason: String?
    }

    private static func order(_ fields: inout JSONFields) -> Order {
        let filter = fields.object("filter") { filter in
            var members: JSONObject = [:]
            enum Ended: String, CaseIterable { case failed, cancelled, expired }
            if let status = filter.optionalChoice("status", of: Ended.self) {
                members["status"] = .string(status.rawValue)
            }
            if let error = filter.optionalString("error", length: 1...500) {
                members["error"] = .string(error)
            }
            for name in ["channel_code", "template_code"] {
                if let code = filter.optionalCode(name) { members[name] = .string(code) }
            }
            for name in ["from", "to"] {
                if let time = filter.optionalDate(name) {
                    members[name] = .string(RFC3339.string(time))
                }
            }
            return members
        }
        return Order(
            filter: .object(filter),
            isDryRun: fields.optionalBool("dry_run") ?? false,
            perSecond: fields.optionalDouble("per_second", in: 0.01...perSecondMax)
                ?? perSecondDefault,
            reason: fields.optionalString("reason", length: 1...500)
        )
    }

    private var cancel: Route {
        Route(
            .post,
            "/v1/message-requests/cancel",
            access: .role(.operator),
            summary: "Stop all requests of a cancellation key",
            description: "One call stops \(OperationsRepository.bulkMax) at most, and says whether "
                + "there are `more`: then call again.",
            tag: "Operations",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(ReplayRoutes.cancellation),
            responses: [
                200: RouteResponse("How many of each.", schema: Schemas.reference("Cancellation"))
            ],
            handler: { request in
                let (key, reason) = try request.read(ReplayRoutes.cancellation)
                let counts = try await repository.cancel(
                    try Tenant(request),
                    key: key,
                    AuditNote(request, reason: reason)
                )
                committed()
                return .json(200, counts)
            }
        )
    }

    private static func cancellation(_ fields: inout JSONFields) -> (key: String, reason: String?) {
        (
            fields.string("cancellation_key", length: 1...255),
            fields.optionalString("reason", length: 1...500)
        )
    }
}
