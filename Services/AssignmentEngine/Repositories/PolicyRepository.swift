internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// What holds for a tenant: its policy, schedules, contacts and rules.
///
/// Every write is one function call and audited there.
@LoopActor
struct PolicyRepository {
    let postgres: PostgresClient

    /// What holds for all teams.
    func tenantPolicy(_ tenant: Tenant) async throws -> JSON {
        try await call(
            "select assignment.tenant_policy($1) as answer",
            [.uuid(tenant.id)]
        )
    }

    /// Changes it; answers `{policy}` or `{missing}`.
    func putTenantPolicy(
        _ tenant: Tenant,
        policy: JSON,
        channelUnits: JSON?,
        priorityTargets: [Int]?,
        audit: AuditNote
    ) async throws -> JSON {
        let targets = priorityTargets.map { "{\($0.map(String.init).joined(separator: ","))}" }
        return try await call(
            "select assignment.put_tenant_policy($1, $2::jsonb, $3::jsonb, $4::int[], $5, $6) "
                + "as answer",
            [
                .uuid(tenant.id), .json(policy.text), channelUnits.map { .json($0.text) } ?? .null,
                PostgresValue(targets),
                .string(audit.actor), .string(audit.requestID),
            ]
        )
    }

    /// The schedule, or null.
    func schedule(_ tenant: Tenant, _ id: UUID) async throws -> JSON {
        let rows = try await postgres.read(
            "select assignment.schedule_json(h) as answer from assignment.schedules h "
                + "where h.tenant_id = $1 and h.id = $2",
            [.uuid(tenant.id), .uuid(id)]
        )
        return try rows.first.map { try JSON(stored: $0) } ?? .null
    }

    /// Makes or changes a schedule; answers `{created, schedule}`.
    func putSchedule(
        _ tenant: Tenant,
        _ id: UUID,
        _ schedule: ScheduleBody,
        audit: AuditNote
    ) async throws -> JSON {
        try await call(
            "select assignment.put_schedule($1, $2, $3, $4, $5::jsonb, $6::jsonb, $7, $8) "
                + "as answer",
            [
                .uuid(tenant.id), .uuid(id), .string(schedule.name), .string(schedule.zone),
                .json(JSON.array(schedule.windows).text),
                .json(JSON.array(schedule.exceptions).text), .string(audit.actor),
                .string(audit.requestID),
            ]
        )
    }

    /// Says whose customer a contact is, or who never gets it; answers `{contact}` or `{missing}`.
    func putContact(
        _ tenant: Tenant,
        _ contact: String,
        owner: UUID??,
        blocked: [UUID]?,
        audit: AuditNote
    ) async throws -> JSON {
        try await call(
            "select assignment.put_contact($1, $2, $3, $4, $5::uuid[], $6, $7) as answer",
            [
                .uuid(tenant.id), .string(contact), .bool(owner != nil),
                PostgresValue(owner ?? nil), blocked.map { .uuids($0) } ?? .null,
                .string(audit.actor), .string(audit.requestID),
            ]
        )
    }

    /// The draft, and what is in force.
    func rules(_ tenant: Tenant) async throws -> JSON {
        try await call("select assignment.rules_json($1) as answer", [.uuid(tenant.id)])
    }

    /// Replaces the draft.
    func putRules(_ tenant: Tenant, _ rules: [JSON], audit: AuditNote) async throws -> JSON {
        try await call(
            "select assignment.put_rules($1, $2::jsonb, $3, $4) as answer",
            [
                .uuid(tenant.id), .json(JSON.array(rules).text), .string(audit.actor),
                .string(audit.requestID),
            ]
        )
    }

    /// Puts the draft in force; answers `{policy_version}`, `{missing}` or `{invalid}`.
    func publish(_ tenant: Tenant, audit: AuditNote) async throws -> JSON {
        try await call(
            "select assignment.publish_rules($1, $2, $3) as answer",
            [.uuid(tenant.id), .string(audit.actor), .string(audit.requestID)]
        )
    }

    /// Puts an earlier version in force; answers `{policy_version}` or `{missing}`.
    func rollBack(_ tenant: Tenant, to version: Int, audit: AuditNote) async throws -> JSON {
        try await call(
            "select assignment.rollback_rules($1, $2, $3, $4) as answer",
            [
                .uuid(tenant.id), .int(version), .string(audit.actor),
                .string(audit.requestID),
            ]
        )
    }

    private func call(_ sql: String, _ parameters: [PostgresValue]) async throws -> JSON {
        try JSON(stored: try await postgres.query(sql, parameters).one())
    }
}

/// A schedule as a caller describes it, checked.
struct ScheduleBody: Sendable {
    let name: String
    let zone: String
    let windows: [JSON]
    let exceptions: [JSON]
}
