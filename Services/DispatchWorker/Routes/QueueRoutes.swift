internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What waits, who sends, how long things are kept.
@LoopActor
struct QueueRoutes {
    let repository: OperationsRepository
    let requests: MessageRequestRepository
    /// Called when a tenant is to be served otherwise.
    let policyChanged: @LoopActor () -> Void

    var routes: [Route] { [queues, jobs, workers, putWorker, putPolicy, policy] }

    /// States of a job and the states of the requests behind it.
    enum JobState: String, Sendable, CaseIterable {
        case waiting, delayed, active, failed, completed, unknown

        var statuses: [String] {
            switch self {
            case .waiting: ["accepted", "dispatched"]
            case .delayed: ["accepted", "dispatched", "retry_wait"]
            case .active: ["sending"]
            case .failed: ["failed"]
            case .completed: ["sent"]
            case .unknown: ["unknown"]
            }
        }

        /// Whether a request of that state is due; nil where that says nothing.
        var isReady: Bool? {
            switch self {
            case .waiting: true
            case .delayed: false
            case .active, .failed, .completed, .unknown: nil
            }
        }
    }

    private var queues: Route {
        Route(
            .get,
            "/v1/queues",
            access: .roleOrService(.viewer),
            summary: "How many requests are in each state",
            description: "`failed` and `completed` count the last day.",
            tag: "Operations",
            responses: [200: RouteResponse("They.", schema: Schemas.list(of: "Queue"))],
            handler: { request in
                let queue = try await repository.queue(try Tenant(request))
                return .json(200, ["items": [queue], "next_cursor": .null])
            }
        )
    }

    private var jobs: Route {
        Route(
            .get,
            "/v1/queues/{tenant}/jobs",
            access: .roleOrService(.viewer),
            summary: "The requests behind the jobs of a queue, the newest first",
            tag: "Operations",
            queryParameters: [
                QueryParameter(
                    "state",
                    "Only those in this state.",
                    schema: Schemas.oneOf(JobState.allCases.map(\.rawValue))
                )
            ] + Page.parameters,
            responses: [200: RouteResponse("A page.", schema: Schemas.list(of: "MessageRequest"))],
            handler: { request in
                let tenant = try Tenant(request)
                guard request.parameters["tenant"] == tenant.code else { throw Problem.notFound }
                var filter = MessageRequestRepository.Filter()
                if let text = request.query["state"] {
                    guard let state = JobState(rawValue: text) else {
                        throw Problem.invalid("/query/state", "is no state of a job")
                    }
                    filter.statuses = state.statuses
                    filter.isReady = state.isReady
                }
                let page = try Page.read(request)
                let items = try await requests.list(
                    tenant,
                    filter,
                    limit: page.limit,
                    after: page.after
                )
                return Page.answer(items, limit: page.limit)
            }
        )
    }

    private var workers: Route {
        Route(
            .get,
            "/v1/workers",
            access: .roleOrService(.viewer),
            summary: "The processes that send",
            tag: "Operations",
            responses: [200: RouteResponse("They.", schema: Schemas.list(of: "Worker"))],
            handler: { _ in
                .json(
                    200,
                    ["items": .array(try await repository.workers()), "next_cursor": .null]
                )
            }
        )
    }

    private var putWorker: Route {
        Route(
            .put,
            "/v1/workers/{id}",
            access: .service,
            summary: "Have a process that sends take nothing more, or go on",
            description: "Within some seconds. What it has in hand ends: it is drained once it is "
                + "`paused` with `in_flight` 0. A process that starts is not paused. It sends for "
                + "all tenants, so only a service may do this; a tenant's own sending stops with a "
                + "pause.",
            tag: "Operations",
            requestSchema: JSONFields.schema(QueueRoutes.workerBody),
            responses: [200: RouteResponse("The process.", schema: Schemas.reference("Worker"))],
            handler: { request in
                let (paused, reason) = try request.read(QueueRoutes.workerBody)
                let worker = try await repository.setWorker(
                    try Tenant(request),
                    request.parameters["id"],
                    paused: paused,
                    AuditNote(request, reason: reason)
                )
                guard let found = worker.present else { throw Problem.notFound }
                return .json(200, found)
            }
        )
    }

    private enum WorkerState: String, CaseIterable { case running, paused }

    private static func workerBody(_ fields: inout JSONFields) -> (paused: Bool, reason: String?) {
        (
            fields.choice("state", of: WorkerState.self) == .paused,
            fields.optionalString("reason", length: 1...500)
        )
    }

    private var putPolicy: Route {
        Route(
            .put,
            "/v1/tenant/dispatch-policy",
            access: .role(.admin),
            summary: "Set how long ended requests are kept, and how the tenant is served",
            description:
                "`weight` is its share of each round over all tenants, `max_in_flight` how "
                + "many of its messages one process sends at once (three processes send three times "
                + "as many), `max_queued` how many may wait before no more are accepted (429 "
                + "`tenant_backlog`). Requests are kept for 90 days at most, as long as their attempts. "
                + "What is left out stays.",
            tag: "Configuration",
            requestSchema: JSONFields.schema(QueueRoutes.policyBody),
            responses: [200: RouteResponse("The policy.", schema: Schemas.reference("Policy"))],
            handler: { request in
                let policy = try request.read(QueueRoutes.policyBody)
                let answer = try await repository.setPolicy(
                    try Tenant(request),
                    policy,
                    AuditNote(request)
                )
                policyChanged()
                return .json(200, answer)
            }
        )
    }

    private var policy: Route {
        Route(
            .get,
            "/v1/tenant/dispatch-policy",
            access: .role(.viewer),
            summary: "How long ended requests are kept, and how the tenant is served",
            tag: "Configuration",
            responses: [200: RouteResponse("The policy.", schema: Schemas.reference("Policy"))],
            handler: { request in
                .json(200, try await repository.policy(try Tenant(request)))
            }
        )
    }

    private static func policyBody(_ fields: inout JSONFields) -> JSONObject {
        let ranges = [
            ("retention_days", 1...90), ("weight", 1...100), ("max_in_flight", 1...256),
            ("max_queued", 1...10_000_000),
        ]
        var policy = JSONObject()
        for (name, range) in ranges {
            guard let value = fields.optionalInt(name, in: range) else { continue }
            policy[name] = .int(Int64(value))
        }
        return policy
    }
}
