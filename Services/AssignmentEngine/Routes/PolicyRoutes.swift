internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// What holds for a tenant: its policy, hours and contacts.
@LoopActor
struct PolicyRoutes {
    let policies: PolicyRepository
    let drainer: QueueDrainer

    var routes: [Route] {
        [getPolicy, putPolicy, getSchedule, putSchedule, putOwner, putBlocked]
    }

    private var getPolicy: Route {
        .shows(
            "/v1/tenant/assignment-policy",
            "What holds for teams that say nothing else",
            tag: "Policy",
            "The policy."
        ) { _, tenant in try await policies.tenantPolicy(tenant) }
    }

    private var putPolicy: Route {
        .puts(
            "/v1/tenant/assignment-policy",
            "Change it",
            tag: "Policy",
            schema: Shapes.tenantPolicy,
            member: "policy",
            thenDrains: drainer
        ) { request, tenant in
            let (policy, units, targets) = try request.read { body in
                (
                    PolicyBody.read(&body), PolicyRoutes.channelUnits(&body),
                    PolicyRoutes.priorityTargets(&body)
                )
            }
            return try await policies.putTenantPolicy(
                tenant,
                policy: policy,
                channelUnits: units,
                priorityTargets: targets,
                audit: AuditNote(request)
            )
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
        .shows("/v1/schedules/{id}", "Hours", tag: "Policy", "The schedule.") { request, tenant in
            try await policies.schedule(tenant, request.id())
        }
    }

    private var putSchedule: Route {
        .puts(
            "/v1/schedules/{id}",
            "Make or change hours",
            tag: "Policy",
            schema: Shapes.schedule,
            member: "schedule",
            thenDrains: drainer
        ) { request, tenant in
            try await policies.putSchedule(
                tenant,
                request.id(),
                try request.read(RuleBody.schedule),
                audit: AuditNote(request)
            )
        }
    }

    private var putOwner: Route {
        putContact("owner", "Say whose customer a contact is; null: nobody's", Shapes.owner) {
            request in
            (owner: .some(try request.read { $0.optionalUUID("agent_id") }), blocked: nil)
        }
    }

    private var putBlocked: Route {
        putContact("blocked-agents", "Say who never gets a contact", Shapes.blocked) { request in
            (owner: nil, blocked: try request.read { $0.uuids("agent_ids", count: 0...100) })
        }
    }

    private func putContact(
        _ what: String,
        _ summary: String,
        _ schema: JSON,
        _ read: @escaping @LoopActor (Request) throws -> (owner: UUID??, blocked: [UUID]?)
    ) -> Route {
        .puts(
            "/v1/contacts/{id}/\(what)",
            summary,
            tag: "Contacts",
            schema: schema,
            member: "contact",
            thenDrains: drainer
        ) { request, tenant in
            let (owner, blocked) = try read(request)
            let id = request.parameters["id"]
            guard 1...200 ~= id.unicodeScalars.count else { throw Problem.notFound }
            return try await policies.putContact(
                tenant,
                id,
                owner: owner,
                blocked: blocked,
                audit: AuditNote(request)
            )
        }
    }
}
