internal import EventLoop
internal import HTTPServer
internal import JSON
internal import Platform

/// A tenant's rules: the draft, and the version in force.
@LoopActor
struct RuleRoutes {
    let policies: PolicyRepository
    let drainer: QueueDrainer

    var routes: [Route] { [getRules, putRules, publish, rollBack] }

    private var getRules: Route {
        .shows("/v1/rules", "The draft, and the rules in force", tag: "Rules", "Both.") {
            _,
            tenant in
            try await policies.rules(tenant)
        }
    }

    private var putRules: Route {
        .puts(
            "/v1/rules",
            "Replace the draft",
            tag: "Rules",
            schema: Shapes.rules,
            member: "rules",
            thenDrains: drainer
        ) { request, tenant in
            let rules = try request.read(RuleBody.rules)
            return ["rules": try await policies.putRules(tenant, rules, audit: AuditNote(request))]
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

    private func post(
        _ path: String,
        _ summary: String,
        schema: JSON?,
        _ change: @escaping Route.Read
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
            handler: { request in
                let tenant = try Tenant(request)
                let answer = try await change(request, tenant)
                drainer.trigger(tenant)
                return .json(200, answer)
            }
        )
    }
}
