internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What holds for a tenant: its policy, hours, contacts and rules.
@LoopActor
struct PolicyRoutes {
    let policies: PolicyRepository
    let drainer: QueueDrainer

    var routes: [Route] {
        [
            getPolicy, putPolicy, getSchedule, putSchedule, putOwner, putBlocked, getRules,
            putRules,
            publish, rollBack,
        ]
    }

    private var getPolicy: Route {
        Route(
            .get,
            "/v1/tenant/assignment-policy",
            access: .role(.viewer),
            summary: "What holds for teams that say nothing else",
            tag: "Policy",
            responses: [200: RouteResponse("The policy.", schema: Shapes.any)],
            handler: ErrorMapping.mapped { request in
                .json(200, try await policies.tenantPolicy(Tenant(request)))
            }
        )
    }

    private var putPolicy: Route {
        put("/v1/tenant/assignment-policy", "Change it", "Policy", Shapes.tenantPolicy) {
            request,
            tenant in
            let (policy, units, targets) = try request.read { body in
                (
                    PolicyBody.read(&body), PolicyRoutes.channelUnits(&body),
                    PolicyRoutes.priorityTargets(&body)
                )
            }
            let answer = try await policies.putTenantPolicy(
                tenant,
                policy: policy,
                channelUnits: units,
                priorityTargets: targets,
                audit: AuditNote(request)
            )
            return (200, answer, "policy")
        }
    }

    private nonisolated static func channelUnits(_ body: inout JSONFields) -> JSON? {
        guard let units = body.optionalJSONObject("channel_units") else { return nil }
        let isSound = units.members.allSatisfy { 1...100 ~= $0.value.intValue ?? 0 }
        if !isSound || units.count > 50 {
            body.fault("channel_units", "must have at most 50 integers from 1 to 100")
        }
        return .object(units)
    }

    /// Seconds for each priority from 0 to 4.
    private nonisolated static func priorityTargets(_ body: inout JSONFields) -> [Int]? {
        guard let given = body.optionalJSON("priority_targets_s"), !given.isNull else { return nil }
        let targets = (given.arrayValue ?? []).compactMap(\.intValue).map(Int.init)
        if targets.count != 5 || given.arrayValue?.count != 5
            || !targets.allSatisfy({ 0...604_800 ~= $0 }) || targets != targets.sorted()
        {
            body.fault("priority_targets_s", "must have 5 rising integers from 0 to 604800")
        }
        return targets
    }

    private var getSchedule: Route {
        Route(
            .get,
            "/v1/schedules/{id}",
            access: .role(.viewer),
            summary: "Hours",
            tag: "Policy",
            responses: [200: RouteResponse("The schedule.", schema: Shapes.any)],
            handler: ErrorMapping.mapped { request in
                .json(200, try found(await policies.schedule(Tenant(request), request.id())))
            }
        )
    }

    private var putSchedule: Route {
        put("/v1/schedules/{id}", "Make or change hours", "Policy", Shapes.schedule) {
            request,
            tenant in
            let answer = try await policies.putSchedule(
                tenant,
                request.id(),
                try request.read(RuleBody.schedule),
                audit: AuditNote(request)
            )
            return (answer["created"] == true ? 201 : 200, answer, "schedule")
        }
    }

    private var putOwner: Route {
        put(
            "/v1/contacts/{id}/owner",
            "Say whose customer a contact is; null: nobody's",
            "Contacts",
            Shapes.owner
        ) { request, tenant in
            let owner = try request.read { $0.optionalUUID("agent_id") }
            return try await contact(request, tenant, owner: .some(owner), blocked: nil)
        }
    }

    private var putBlocked: Route {
        put(
            "/v1/contacts/{id}/blocked-agents",
            "Say who never gets a contact",
            "Contacts",
            Shapes.blocked
        ) { request, tenant in
            let blocked = try request.read { $0.uuids("agent_ids", count: 0...100) }
            return try await contact(request, tenant, owner: nil, blocked: blocked)
        }
    }

    private func contact(
        _ request: Request,
        _ tenant: Tenant,
        owner: UUID??,
        blocked: [UUID]?
    ) async throws -> (Int, JSON, String) {
        let id = request.parameters["id"]
        guard 1...200 ~= id.unicodeScalars.count else { throw Problem.notFound }
        let answer = try await policies.putContact(
            tenant,
            id,
            owner: owner,
            blocked: blocked,
            audit: AuditNote(request)
        )
        return (200, answer, "contact")
    }

    // MARK: Rules

    private var getRules: Route {
        Route(
            .get,
            "/v1/rules",
            access: .role(.viewer),
            summary: "The draft, and the rules in force",
            tag: "Rules",
            responses: [200: RouteResponse("Both.", schema: Shapes.any)],
            handler: ErrorMapping.mapped { request in
                .json(200, try await policies.rules(Tenant(request)))
            }
        )
    }

    private var putRules: Route {
        put("/v1/rules", "Replace the draft", "Rules", Shapes.rules) { request, tenant in
            let rules = try request.read(RuleBody.rules)
            let answer = try await policies.putRules(tenant, rules, audit: AuditNote(request))
            return (200, ["rules": answer], "rules")
        }
    }

    private var publish: Route {
        post("/v1/rules/publish", "Put the draft in force", schema: nil) { request, tenant in
            let answer = try await policies.publish(tenant, audit: AuditNote(request))
            if answer["missing"] != nil {
                throw Problem.conflict("no_draft", "there is no draft to publish")
            }
            if let invalid = answer["invalid"]?.arrayValue {
                throw Problem.invalid(
                    invalid.map { fault in
                        let index = fault["index"]?.intValue ?? 0
                        let field = fault["field"]?.stringValue ?? ""
                        return .init(
                            pointer: "/rules/\(index)/\(field)",
                            detail: "names what does not exist"
                        )
                    }
                )
            }
            return answer
        }
    }

    private var rollBack: Route {
        post("/v1/rules/rollback", "Put an earlier version in force", schema: Shapes.rollback) {
            request,
            tenant in
            let version = try request.read { $0.int("policy_version", in: 1...1_000_000_000) }
            let answer = try await policies.rollBack(
                tenant,
                to: version,
                audit: AuditNote(request)
            )
            if answer["missing"] != nil {
                throw Problem.invalid("/policy_version", "was never published")
            }
            return answer
        }
    }

    // MARK: Common to all

    private typealias Put = @LoopActor (Request, Tenant) async throws -> (Int, JSON, String)

    /// A change after which the queue is looked at; the answer's member of the given name is shown.
    private func put(
        _ path: String,
        _ summary: String,
        _ tag: String,
        _ schema: JSON,
        _ change: @escaping Put
    ) -> Route {
        Route(
            .put,
            path,
            access: .role(.admin),
            summary: summary,
            tag: tag,
            requestSchema: schema,
            responses: [
                200: RouteResponse("It was changed.", schema: Shapes.any),
                201: RouteResponse("It was made.", schema: Shapes.any),
            ],
            handler: ErrorMapping.mapped { request in
                let tenant = try Tenant(request)
                let (status, answer, name) = try await change(request, tenant)
                try refuseMissing(answer)
                drainer.trigger(tenant)
                return .json(status, answer[name] ?? .null)
            }
        )
    }

    private func post(
        _ path: String,
        _ summary: String,
        schema: JSON?,
        _ change: @escaping @LoopActor (Request, Tenant) async throws -> JSON
    ) -> Route {
        Route(
            .post,
            path,
            access: .role(.admin),
            summary: summary,
            tag: "Rules",
            idempotency: .replayed,
            requestSchema: schema,
            responses: [200: RouteResponse("The version in force.", schema: Shapes.any)],
            handler: ErrorMapping.mapped { request in
                let tenant = try Tenant(request)
                let answer = try await change(request, tenant)
                drainer.trigger(tenant)
                return .json(200, answer)
            }
        )
    }
}
