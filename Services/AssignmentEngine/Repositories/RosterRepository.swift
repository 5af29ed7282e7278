internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// Teams and agents, in the schema `assignment`.
///
/// Every write is one function call and audited there.
@LoopActor
struct RosterRepository {
    let postgres: PostgresClient

    /// Makes or changes a team; answers `{created, team}` or `{missing}`.
    func putTeam(
        _ tenant: Tenant,
        _ id: UUID,
        name: String,
        policy: JSON,
        audit: AuditNote
    ) async throws -> JSON {
        try await call(
            "select assignment.put_team($1, $2, $3, $4::jsonb, $5, $6) as answer",
            [
                .uuid(tenant.id), .uuid(id), .string(name), .json(policy.text),
                .string(audit.actor), .string(audit.requestID),
            ]
        )
    }

    /// Takes a team out; whether there was one.
    func deleteTeam(_ tenant: Tenant, _ id: UUID, audit: AuditNote) async throws -> Bool {
        try await call(
            "select to_jsonb(assignment.delete_team($1, $2, $3, $4)) as answer",
            [.uuid(tenant.id), .uuid(id), .string(audit.actor), .string(audit.requestID)]
        ) == true
    }

    /// Takes an agent out; whether there was one.
    func deleteAgent(_ tenant: Tenant, _ id: UUID, audit: AuditNote) async throws -> Bool {
        try await call(
            "select to_jsonb(assignment.delete_agent($1, $2, $3, $4, $5)) as answer",
            [
                .uuid(tenant.id), .string(tenant.code), .uuid(id), .string(audit.actor),
                .string(audit.requestID),
            ]
        ) == true
    }

    /// The team, or null.
    func team(_ tenant: Tenant, _ id: UUID) async throws -> JSON {
        try await look(
            "select assignment.team_json(t) as answer from assignment.teams t "
                + "where t.tenant_id = $1 and t.id = $2 and t.deleted_at is null",
            tenant,
            id
        )
    }

    /// Makes an agent a member; answers `{team}` or `{missing}`.
    func putMember(
        _ tenant: Tenant,
        team: UUID,
        agent: UUID,
        weight: Int?,
        autoAssign: Bool?,
        audit: AuditNote
    ) async throws -> JSON {
        try await call(
            "select assignment.put_member($1, $2, $3, $4, $5, $6, $7) as answer",
            [
                .uuid(tenant.id), .uuid(team), .uuid(agent), PostgresValue(weight),
                PostgresValue(autoAssign), .string(audit.actor), .string(audit.requestID),
            ]
        )
    }

    /// Ends a membership; answers `{team}` or `{missing}`.
    func deleteMember(
        _ tenant: Tenant,
        team: UUID,
        agent: UUID,
        audit: AuditNote
    ) async throws -> JSON {
        try await call(
            "select assignment.delete_member($1, $2, $3, $4, $5) as answer",
            [
                .uuid(tenant.id), .uuid(team), .uuid(agent), .string(audit.actor),
                .string(audit.requestID),
            ]
        )
    }

    /// Makes or changes an agent; answers `{created, agent}` or `{missing}`.
    func putAgent(
        _ tenant: Tenant,
        _ id: UUID,
        _ agent: AgentBody,
        presence: Duration,
        audit: AuditNote
    ) async throws -> JSON {
        try await call(
            "select assignment.put_agent($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, "
                + "$10 * interval '1 ms', $11, $12) as answer",
            [
                .uuid(tenant.id), .string(tenant.code), .uuid(id), .string(agent.name),
                PostgresValue(agent.capacityUnits), PostgresValue(agent.presenceMode?.rawValue),
                agent.skills.map { .json($0.text) } ?? .null, PostgresValue(agent.scheduleID),
                agent.canReply.map { .bool($0) } ?? .null,
                .int(presence.milliseconds), .string(audit.actor), .string(audit.requestID),
            ]
        )
    }

    /// The agent, or null.
    func agent(_ tenant: Tenant, _ id: UUID) async throws -> JSON {
        try await look(
            "select assignment.agent_json(a) as answer from assignment.agents a "
                + "where a.tenant_id = $1 and a.id = $2 and a.deleted_at is null",
            tenant,
            id
        )
    }

    /// Sets what an agent chose; the agent, or null.
    func setStatus(
        _ tenant: Tenant,
        _ id: UUID,
        _ status: AgentStatus,
        presence: Duration,
        audit: AuditNote
    ) async throws -> JSON {
        try await call(
            """
            select assignment.set_status($1, $2, $3, $4, $5 * interval '1 ms', $6, $7) as answer
            """,
            [
                .uuid(tenant.id), .string(tenant.code), .uuid(id), .string(status.rawValue),
                .int(presence.milliseconds), .string(audit.actor), .string(audit.requestID),
            ]
        )
    }

    /// Notes a sign of life; `{agent, returned}`, or null.
    func heartbeat(_ tenant: Tenant, _ id: UUID, presence: Duration) async throws -> JSON {
        try await call(
            "select assignment.heartbeat($1, $2, $3, $4 * interval '1 ms') as answer",
            [
                .uuid(tenant.id), .string(tenant.code), .uuid(id),
                .int(presence.milliseconds),
            ]
        )
    }

    /// Agents by id, as many as asked for.
    func agents(_ tenant: Tenant, _ filter: AgentFilter) async throws -> [JSON] {
        try await list(
            """
            select assignment.agent_json(a) as answer from assignment.agents a
            where a.tenant_id = $1 and a.deleted_at is null and ($2::uuid is null or a.id > $2)
              and ($3::text is null or a.status = $3)
              and ($4::uuid is null or exists (select 1 from assignment.team_candidates c
                where c.tenant_id = $1 and c.team_id = $4 and c.agent_id = a.id))
            order by a.id limit $5
            """,
            [
                .uuid(tenant.id), PostgresValue(filter.after),
                PostgresValue(filter.status?.rawValue), PostgresValue(filter.team),
                .int(filter.limit),
            ]
        )
    }

    /// Teams by id, without their members; with `agent` only those it is a member of.
    func teams(
        _ tenant: Tenant,
        agent: UUID?,
        after: UUID?,
        limit: Int
    ) async throws -> [JSON] {
        try await list(
            """
            select assignment.policy(t.tenant_id, t.id)
              || jsonb_build_object('id', t.id, 'name', t.name, 'member_count',
                (select count(*) from assignment.team_candidates c
                  where c.tenant_id = t.tenant_id and c.team_id = t.id)) as answer
            from assignment.teams t
            where t.tenant_id = $1 and t.deleted_at is null and ($2::uuid is null or t.id > $2)
              and ($3::uuid is null or exists (select 1 from assignment.team_candidates c
                where c.tenant_id = $1 and c.team_id = t.id and c.agent_id = $3))
            order by t.id limit $4
            """,
            [.uuid(tenant.id), PostgresValue(after), PostgresValue(agent), .int(limit)]
        )
    }

    private func list(_ sql: String, _ parameters: [PostgresValue]) async throws -> [JSON] {
        try await postgres.query(sql, parameters).map { try JSON(stored: $0) }
    }

    private func call(_ sql: String, _ parameters: [PostgresValue]) async throws -> JSON {
        try JSON(stored: try await postgres.query(sql, parameters).one())
    }

    private func look(_ sql: String, _ tenant: Tenant, _ id: UUID) async throws -> JSON {
        let rows = try await postgres.read(sql, [.uuid(tenant.id), .uuid(id)])
        return try rows.first.map { try JSON(stored: $0) } ?? .null
    }
}

/// What an agent chooses.
enum AgentStatus: String, Sendable, CaseIterable {
    case online, busy, away, offline
}

/// What a list of agents is narrowed to.
struct AgentFilter: Sendable {
    var status: AgentStatus?
    var team: UUID?
    var after: UUID?
    var limit = 50
}

/// What counts as being there.
enum PresenceMode: String, Sendable, CaseIterable {
    case strict, manual, schedule
}

/// An agent as a caller describes it.
struct AgentBody: Sendable {
    let name: String
    let capacityUnits: Int?
    let presenceMode: PresenceMode?
    let skills: JSON?
    let scheduleID: UUID?
    let canReply: Bool?
}
