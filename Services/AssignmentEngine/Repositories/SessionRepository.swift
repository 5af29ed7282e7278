internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient

/// A session as the engine needs it, and as the API shows it.
struct Session: Sendable {
    let id: UUID
    let teamID: UUID?
    let state: String
    /// Capacity that it takes.
    let units: Int
    let document: JSON

    /// Reads what `assignment.session_json` made.
    init?(_ document: JSON) {
        guard let id = document["id"]?.stringValue.flatMap(UUID.init(uuidString:)),
            let state = document["state"]?.stringValue
        else { return nil }
        self.id = id
        self.state = state
        units = Int(document["units"]?.intValue ?? 1)
        teamID = document["team_id"]?.stringValue.flatMap(UUID.init(uuidString:))
        self.document = document
    }
}

/// Sessions and decisions, in the schema `assignment`.
///
/// Every write is one function call.
@LoopActor
struct SessionRepository {
    let postgres: PostgresClient

    /// Opens the conversation's session or finds the open one, with team and context set.
    func open(
        _ tenant: Tenant,
        _ request: HandoverRequest
    ) async throws -> (created: Bool, session: Session) {
        let answer = try await call(
            "select assignment.open_session($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9) as answer",
            [
                .uuid(tenant.id), .string(tenant.code), .null,
                .uuid(request.conversationID), .string(request.contactID),
                PostgresValue(request.teamID), PostgresValue(request.priority),
                .json(request.context.text), .string(request.source.rawValue),
            ]
        )
        guard let session = answer["session"].flatMap(Session.init) else {
            throw UnexpectedAnswer(function: "open_session")
        }
        return (answer["created"] == true, session)
    }

    /// The session of this id, or nil.
    func find(_ tenant: Tenant, _ id: UUID) async throws -> Session? {
        let rows = try await postgres.read(
            """
            select assignment.session_json(s) as answer from assignment.sessions s
            where s.tenant_id = $1 and s.id = $2
            """,
            [.uuid(tenant.id), .uuid(id)]
        )
        return try rows.first.map { try JSON(stored: $0) }.flatMap(Session.init)
    }

    /// The strategy of a team; nil when there is no such team.
    ///
    /// Without a team: the default.
    func strategy(_ tenant: Tenant, team: UUID?) async throws -> Strategy? {
        guard let team else { return .roundRobin }
        let rows = try await postgres.read(
            "select strategy from assignment.teams where tenant_id = $1 and id = $2 "
                + "and deleted_at is null",
            [.uuid(tenant.id), .uuid(team)]
        )
        return try rows.first.flatMap { Strategy(rawValue: try $0.string("strategy")) }
    }

    /// Everybody who could get a session of this team, by id.
    func roster(_ tenant: Tenant, team: UUID?) async throws -> [Candidate] {
        let rows = try await postgres.read(
            "select * from assignment.roster($1, $2)",
            [.uuid(tenant.id), PostgresValue(team)]
        )
        return try rows.map { row in
            Candidate(
                id: try row.uuid("agent_id"),
                name: try row.string("name"),
                weight: try row.int("weight"),
                autoAssign: try row.bool("auto_assign"),
                virtualTime: try row.double("vt"),
                status: try row.string("status"),
                isAccepting: try row.bool("accepting"),
                isPresent: try row.bool("present"),
                capacityUnits: try row.int("capacity_units"),
                activeUnits: try row.int("active_units"),
                lastAssignedAt: try row.optionalTimeMilliseconds("last_assigned_at")
            )
        }
    }

    /// Gives the session to the first of `order` that has room.
    func claim(
        _ tenant: Tenant,
        _ session: UUID,
        order: [UUID],
        decision: Decision,
        force: Bool = false
    ) async throws -> Claim {
        let answer = try await call(
            "select assignment.claim_session($1, $2, $3, $4::uuid[], $5::jsonb, $6) as answer",
            [
                .uuid(tenant.id), .string(tenant.code), .uuid(session), .uuids(order),
                .json(decision.document.text), .bool(force),
            ]
        )
        guard let result = answer["result"]?.stringValue.flatMap(Claim.Result.init) else {
            throw UnexpectedAnswer(function: "claim_session")
        }
        return Claim(
            result: result,
            agentID: answer["agent_id"]?.stringValue.flatMap(UUID.init(uuidString:)),
            session: answer["session"].flatMap(Session.init)
        )
    }

    /// Keeps a decision that gave the session to nobody.
    func leave(_ tenant: Tenant, _ session: UUID, decision: Decision) async throws -> Session? {
        Session(
            try await call(
                "select assignment.leave_session($1, $2, $3::jsonb) as answer",
                [.uuid(tenant.id), .uuid(session), .json(decision.document.text)]
            )
        )
    }

    /// Ends a session; nil when there is none.
    func close(
        _ tenant: Tenant,
        _ session: UUID,
        audit: AuditNote
    ) async throws -> Session? {
        Session(
            try await call(
                "select assignment.close_session($1, $2, $3, $4, $5, $6) as answer",
                [
                    .uuid(tenant.id), .string(tenant.code), .uuid(session),
                    .string(audit.actor), PostgresValue(audit.reason), .string(audit.requestID),
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
              'took_ms', d.took_ms) as answer
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

    /// Queued sessions in the order in which they are served.
    func queued(_ tenant: Tenant, team: UUID?, limit: Int) async throws -> [Session] {
        let rows = try await postgres.query(
            """
            select assignment.session_json(s) as answer from assignment.sessions s
            where s.tenant_id = $1 and s.state = 'queued' and ($2::uuid is null or s.team_id = $2)
            order by s.sort_key, s.enqueued_at, s.id limit $3
            """,
            [.uuid(tenant.id), PostgresValue(team), .int(Int64(limit))]
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

    private func call(_ sql: String, _ parameters: [PostgresValue]) async throws -> JSON {
        try JSON(stored: try await postgres.query(sql, parameters).one())
    }
}

/// How a claim ended.
struct Claim: Sendable {
    enum Result: String, Sendable {
        case assigned, taken, busy
        case noCapacity = "no_capacity"
    }

    let result: Result
    let agentID: UUID?
    let session: Session?
}

/// What a list of sessions is narrowed to.
struct SessionFilter: Sendable {
    var state: String?
    var team: UUID?
    var agent: UUID?
    var before: UUID?
    var limit = 50
}
