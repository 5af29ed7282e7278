internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient

/// Sessions and decisions, in the schema `assignment`.
///
/// Every write is one function call.
@LoopActor
struct SessionRepository {
    let postgres: PostgresClient

    /// Opens the conversation's session or finds the open one, with team and context set.
    func open(
        _ tenant: Tenant,
        _ request: HandoverRequest,
        audit: AuditNote
    ) async throws -> (created: Bool, session: Session) {
        let answer = try await call(
            """
            select assignment.open_session(
              $1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9::timestamptz, $10, $11, $12) as answer
            """,
            [
                .uuid(tenant.id), .string(tenant.code), .null,
                .uuid(request.conversationID), .string(request.contactID),
                PostgresValue(request.teamID), PostgresValue(request.priority),
                .json(request.context.text), PostgresValue(request.dueAt.map(RFC3339.string)),
                .string(request.source.rawValue),
                .string(audit.actor), .string(audit.requestID),
            ]
        )
        guard let session = answer["session"].flatMap(Session.init) else {
            throw UnexpectedAnswer(function: "open_session")
        }
        return (answer["created"] == true, session)
    }

    /// The session of this id, or nil; without its place in the queue.
    func find(_ tenant: Tenant, _ id: UUID) async throws -> Session? {
        try await session(tenant, id, as: "session_json")
    }

    /// The same as a caller sees it.
    func view(_ tenant: Tenant, _ id: UUID) async throws -> Session? {
        try await session(tenant, id, as: "session_view")
    }

    private func session(_ tenant: Tenant, _ id: UUID, as form: String) async throws -> Session? {
        let rows = try await postgres.read(
            """
            select assignment.\(form)(s) as answer from assignment.sessions s
            where s.tenant_id = $1 and s.id = $2
            """,
            [.uuid(tenant.id), .uuid(id)]
        )
        return try rows.first.map { try JSON(stored: $0) }.flatMap(Session.init)
    }

    /// Everything that a run needs to know, in one look.
    ///
    /// - Parameter agents: who is looked at, members or not; nil for a further page of the same team.
    func facts(
        _ tenant: Tenant,
        contact: String,
        team: UUID?,
        also agents: [UUID]?,
        _ page: RosterPage
    ) async throws -> RunFacts {
        let rows = try await postgres.read(
            "select assignment.facts($1, $2, $3, $4::uuid[], $5, $6, $7, $8) as answer",
            [
                .uuid(tenant.id), .string(contact), PostgresValue(team),
                agents.map(PostgresValue.uuids) ?? .null, .int(RunPlanner.wholeRoster),
                page.turn == nil && !page.isFurther ? .null : .int(page.from), .int(page.limit),
                page.isOfAbsent ? .string("absent") : .null,
            ]
        )
        return RunFacts(try JSON(stored: try rows.one()))
    }

    /// How many members of a large team are not to be had, by reason, without those in `known`.
    func awayCounts(_ tenant: Tenant, team: UUID?, known: [UUID]) async throws -> JSON {
        try await call(
            "select assignment.away_counts($1, $2, $3::uuid[]) as answer",
            [.uuid(tenant.id), .uuid(team ?? tenant.id), .uuids(known)]
        )
    }

    /// The rules of a version; nil when there was never one.
    func rules(_ tenant: Tenant, version: Int) async throws -> RuleSet? {
        let rows = try await postgres.read(
            "select rules as answer from assignment.policy_versions "
                + "where tenant_id = $1 and policy_version = $2",
            [.uuid(tenant.id), .int(version)]
        )
        return try rows.first.map { RuleSet(try JSON(stored: $0)) }
    }

    /// How many share the turns of a team.
    func ring(_ tenant: Tenant, team: UUID?) async throws -> Int {
        let rows = try await postgres.read(
            "select assignment.ring($1, $2) as n",
            [.uuid(tenant.id), .uuid(team ?? tenant.id)]
        )
        return try rows.one().int("n")
    }

    /// Keeps why nobody got the session, and when it is looked at again.
    func leave(
        _ tenant: Tenant,
        _ session: UUID,
        _ plan: RunPlan,
        _ end: Ending
    ) async throws -> Session? {
        let wake = end.wake.map { wake in
            PostgresValue.json(
                JSON.object(["kind": .string(wake.kind.rawValue), "due_ms": .int(wake.due)]).text
            )
        }
        return Session(
            try await call(
                "select assignment.leave_session($1, $2, $3, $4::jsonb, $5::jsonb, $6::jsonb, $7) "
                    + "as answer",
                [
                    .uuid(tenant.id), .string(tenant.code), .uuid(session),
                    .json(plan.decision.document.text), .json(plan.wishes.text),
                    wake ?? .null, PostgresValue(end.event),
                ]
            )
        )
    }

    /// Decisions of a session, newest first.
    func decisions(
        _ tenant: Tenant,
        _ session: UUID,
        limit: Int,
        before: UUID?
    ) async throws -> [JSON] {
        let rows = try await postgres.query(
            """
            select jsonb_build_object('id', d.id, 'at', platform.rfc3339(d.created_at),
              'source', d.source, 'outcome', d.outcome, 'reason', d.reason,
              'agent_id', d.agent_id, 'strategy', d.strategy, 'rule_id', d.rule_id,
              'policy_version', d.policy_version, 'rr_index', d.rr_index,
              'candidates', d.candidates, 'rejected', d.rejected, 'counts', d.counts,
              'note', d.note, 'took_ms', d.took_ms) as answer
            from assignment.assignment_decisions d
            where d.tenant_id = $1 and d.session_id = $2
              and ($3::uuid is null or (d.created_at, d.id) < (select b.created_at, b.id
                from assignment.assignment_decisions b
                where b.tenant_id = $1 and b.session_id = $2 and b.id = $3))
            order by d.created_at desc, d.id desc limit $4
            """,
            [.uuid(tenant.id), .uuid(session), PostgresValue(before), .int(Int64(limit))]
        )
        return try rows.map { try JSON(stored: $0) }
    }

    /// Sessions by id, newest first.
    func list(_ tenant: Tenant, _ filter: SessionFilter) async throws -> [JSON] {
        let rows = try await postgres.query(
            """
            select assignment.session_json(s) as answer from assignment.sessions s
            where s.tenant_id = $1 and ($2::text is null or s.state = $2)
              and ($3::uuid is null or s.team_id = $3)
              and ($4::uuid is null or s.assignee_id = $4)
              and ($5::uuid is null or s.id < $5)
            order by s.id desc limit $6
            """,
            [
                .uuid(tenant.id), PostgresValue(filter.state), PostgresValue(filter.team),
                PostgresValue(filter.agent), PostgresValue(filter.before),
                .int(Int64(filter.limit)),
            ]
        )
        return try rows.map { try JSON(stored: $0) }
    }

    /// Queued sessions of a team, or of the tenant's pool, in the order in which they are served;
    /// without a team those of all, in one order.
    func queued(
        _ tenant: Tenant,
        team: UUID?,
        after: UUID?,
        limit: Int
    ) async throws -> [JSON] {
        let rows = try await postgres.query(
            """
            select assignment.session_view(s) as answer from assignment.sessions s
            where s.tenant_id = $1 and s.state = 'queued'
              and ($2::uuid is null or coalesce(s.team_id, s.tenant_id) = $2)
              and ($3::uuid is null or (s.sort_key, s.enqueued_at, s.id) > (
                select o.sort_key, o.enqueued_at, o.id from assignment.sessions o
                where o.tenant_id = $1 and o.id = $3))
            order by s.sort_key, s.enqueued_at, s.id limit $4
            """,
            [.uuid(tenant.id), PostgresValue(team), PostgresValue(after), .int(Int64(limit))]
        )
        return try rows.map { try JSON(stored: $0) }
    }

    /// The heads of a tenant's queues, in one order across its teams; teams in which nobody can be
    /// chosen are passed over.
    func queueHeads(
        _ tenant: Tenant,
        team: UUID?,
        perTeam: Int,
        limit: Int
    ) async throws -> [Session] {
        let rows = try await postgres.query(
            "select assignment.queue_heads($1, $2, $3, $4) as answer",
            [.uuid(tenant.id), PostgresValue(team), .int(perTeam), .int(limit)]
        )
        return try rows.compactMap { Session(try JSON(stored: $0)) }
    }

    /// Tenants that have something in the queue.
    func tenantsWaiting(limit: Int) async throws -> [Tenant] {
        let rows = try await postgres.query(
            """
            select t.id, t.code from platform.tenants t where exists (
              select 1 from assignment.sessions s
              where s.tenant_id = t.id and s.state = 'queued') order by t.id limit $1
            """,
            [.int(Int64(limit))]
        )
        return try rows.map { Tenant(id: try $0.uuid("id"), code: try $0.string("code")) }
    }

    func call(_ sql: String, _ parameters: [PostgresValue]) async throws -> JSON {
        try JSON(stored: try await postgres.query(sql, parameters).one())
    }
}
