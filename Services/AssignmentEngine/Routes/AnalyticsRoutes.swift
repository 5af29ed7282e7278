internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient
internal import RedisClient

/// What callers report, and what was counted.
@LoopActor
struct AnalyticsRoutes {
    let collector: Collector
    let reports: Reports

    var routes: [Route] { [collect, report] }

    private var collect: Route {
        var route = Route(
            .post,
            "/v1/events",
            access: .roleOrService(.agent),
            summary: "Report events",
            description: "Each is counted once under its id. Answered once Redis has all of them.",
            tag: "Analytics",
            idempotency: .replayed,
            requestSchema: Shapes.events,
            responses: [202: RouteResponse("They are stored.", schema: Shapes.any)],
            handler: { request in
                let events = try request.read { body in
                    body.array(
                        "events",
                        count: 1...Collector.eventsPerRequest,
                        of: AnalyticsRoutes.event
                    )
                }
                do {
                    try await collector.collect(Tenant(request), events)
                } catch let error as RedisError {
                    throw Problem.unavailable("events cannot be stored: \(error.code)")
                }
                return .json(202, ["accepted": .int(Int64(events.count))])
            }
        )
        route.bodyLimit = 1 << 20
        return route
    }

    private nonisolated static func event(_ event: inout JSONFields) -> ReportedEvent {
        ReportedEvent(
            id: event.uuid("id"),
            name: event.code("name"),
            at: event.date("at"),
            properties: event.optionalJSONObject("properties").map(JSON.object) ?? [:]
        )
    }

    private var report: Route {
        Route(
            .get,
            "/v1/reports/{kind}",
            access: .role(.viewer),
            summary: "Counts by minute or hour: assignments, queue, dispatch, events",
            description: "JSON, or CSV with `Accept: text/csv`.",
            tag: "Analytics",
            queryParameters: [
                QueryParameter("from", "RFC 3339; a day before `to` by default."),
                QueryParameter("to", "RFC 3339, not included; now by default."),
                QueryParameter("interval", "`minute` or `hour` (default)."),
            ],
            responses: [200: RouteResponse("The counts.", schema: Shapes.any)],
            handler: { request in
                guard let kind = ReportKind(rawValue: request.parameters["kind"]) else {
                    throw Problem.notFound
                }
                let interval = try AnalyticsRoutes.interval(request)
                let now = try await reports.now()
                let to = try AnalyticsRoutes.time(request, "to") ?? now
                let from = try AnalyticsRoutes.time(request, "from") ?? to - 86_400_000
                guard from < to, to - from <= interval.spanLimit else {
                    throw Problem.invalid(
                        "/query/from",
                        "must be before to, by at most \(interval.spanLimit / 3_600_000) hours"
                    )
                }
                let counts = try await reports.read(
                    Tenant(request),
                    kind,
                    interval,
                    from: from,
                    to: to
                )
                if request.fields["Accept"]?.contains("text/csv") == true {
                    return Response(
                        contentType: "text/csv; charset=utf-8",
                        body: .bytes(Array(Reports.csv(counts).utf8))
                    )
                }
                return .json(
                    200,
                    [
                        "kind": .string(kind.rawValue), "interval": .string(interval.rawValue),
                        "from": .string(RFC3339.string(from)), "to": .string(RFC3339.string(to)),
                        "items": Reports.items(counts),
                    ]
                )
            }
        )
    }

    private nonisolated static func interval(_ request: Request) throws(Problem) -> ReportInterval {
        guard let text = request.query["interval"] else { return .hour }
        guard let interval = ReportInterval(rawValue: text) else {
            throw .invalid("/query/interval", "must be minute or hour")
        }
        return interval
    }

    private nonisolated static func time(
        _ request: Request,
        _ name: String
    ) throws(Problem) -> Int64? {
        guard let text = request.query[name] else { return nil }
        guard let time = RFC3339.parse(text) else {
            throw .invalid("/query/\(name)", "is not a time, such as 2026-11-26T09:00:00Z")
        }
        return time
    }
}
