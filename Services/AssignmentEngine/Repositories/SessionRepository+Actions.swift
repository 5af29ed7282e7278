internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// How an agent comes to a session by hand.
enum GiveKind: String, Sendable {
    case take, assign, transfer
}

/// What is done with a session by hand.
enum SessionAction: String, Sendable {
    case accept, decline, hold, resume, close
    case transferTeam = "transfer_team"
    case returnToBot = "return_to_bot"
}

/// What came of something done by hand.
struct ActionResult: Sendable {
    /// As the database's function names it: `done`, `given`, or why not.
    let name: String
    /// The reason code against an agent.
    let reason: String?
    let agentID: UUID?
    let session: Session?
    /// Whether the engine is to run for it now.
    let runs: Bool
    let onReopen: OnReopen?

    init(_ answer: JSON) {
        name = answer["result"]?.stringValue ?? ""
        reason = answer["reason"]?.stringValue
        agentID = answer["agent_id"]?.uuidValue
        session = answer["session"].flatMap(Session.init)
        runs = answer["run"]?.boolValue ?? false
        onReopen = answer["on_reopen"]?.stringValue.flatMap(OnReopen.init(rawValue:))
    }
}

/// What people do with sessions; each is one function call, and audited there.
extension SessionRepository {
    /// Gives a session to an agent by hand.
    func give(
        _ tenant: Tenant,
        _ session: UUID,
        to agent: UUID,
        _ kind: GiveKind,
        force: Bool,
        audit: AuditNote
    ) async throws -> ActionResult {
        ActionResult(
            try await call(
                "select assignment.give_session($1, $2, $3, $4, $5, $6, $7, $8, $9) as answer",
                [
                    .uuid(tenant.id), .string(tenant.code), .uuid(session), .uuid(agent),
                    .string(kind.rawValue), .bool(force), .string(audit.actor),
                    PostgresValue(audit.reason), .string(audit.requestID),
                ]
            )
        )
    }

    /// Does something with a session.
    func act(
        _ tenant: Tenant,
        _ session: UUID,
        _ action: SessionAction,
        agent: UUID? = nil,
        team: UUID? = nil,
        force: Bool = false,
        audit: AuditNote
    ) async throws -> ActionResult {
        ActionResult(
            try await call(
                "select assignment.act_on_session($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
                    + "as answer",
                [
                    .uuid(tenant.id), .string(tenant.code), .uuid(session),
                    .string(action.rawValue), PostgresValue(agent), PostgresValue(team),
                    .bool(force), .string(audit.actor), PostgresValue(audit.reason),
                    .string(audit.requestID),
                ]
            )
        )
    }

    /// An agent replied: what is offered to it is accepted, what waits is its own where the team wants
    /// that.
    func noteReply(
        _ tenant: Tenant,
        _ session: UUID,
        of agent: UUID,
        audit: AuditNote
    ) async throws -> ActionResult {
        ActionResult(
            try await call(
                "select assignment.note_reply($1, $2, $3, $4, now(), $5, $6, $7) as answer",
                [
                    .uuid(tenant.id), .string(tenant.code), .uuid(session), .uuid(agent),
                    .string(audit.actor), PostgresValue(audit.reason), .string(audit.requestID),
                ]
            )
        )
    }

    /// Asks again for a person on a session that is there.
    func handOver(
        _ tenant: Tenant,
        _ session: UUID,
        team: UUID?,
        priority: Int?,
        context: JSON,
        due: Int64?,
        audit: AuditNote
    ) async throws -> ActionResult {
        ActionResult(
            try await call(
                "select assignment.hand_over($1, $2, $3, $4, $5::jsonb, $6::timestamptz, $7, $8, "
                    + "$9) as answer",
                [
                    .uuid(tenant.id), .uuid(session), PostgresValue(team),
                    PostgresValue(priority), .json(context.text),
                    PostgresValue(due.map(RFC3339.string)), .string(audit.actor),
                    PostgresValue(audit.reason), .string(audit.requestID),
                ]
            )
        )
    }

    /// Opens a closed session again.
    func reopen(
        _ tenant: Tenant,
        _ session: UUID,
        audit: AuditNote
    ) async throws -> ActionResult {
        ActionResult(
            try await call(
                "select assignment.reopen_session($1, $2, $3, $4, $5, $6) as answer",
                [
                    .uuid(tenant.id), .string(tenant.code), .uuid(session),
                    .string(audit.actor), PostgresValue(audit.reason), .string(audit.requestID),
                ]
            )
        )
    }

    /// A timer of a session is due; the session when the engine is to run for it.
    func timerDue(
        _ tenant: Tenant,
        _ session: UUID,
        kind: String,
        sequence: Int64
    ) async throws -> Session? {
        let answer = try await call(
            "select assignment.session_timer_due($1, $2, $3, $4, $5) as answer",
            [
                .uuid(tenant.id), .string(tenant.code), .uuid(session), .string(kind),
                .int(sequence),
            ]
        )
        return answer["action"]?.stringValue == "run"
            ? answer["session"].flatMap(Session.init) : nil
    }

    /// Which sessions of an agent that is gone must go back, and when to look again.
    func absenceDue(
        _ tenant: Tenant,
        _ agent: UUID
    ) async throws -> (sessions: [UUID], next: Int64?) {
        let answer = try await call(
            "select assignment.absence_due($1, $2, $3) as answer",
            [.uuid(tenant.id), .string(tenant.code), .uuid(agent)]
        )
        let due = (answer["sessions"]?.arrayValue ?? []).compactMap(\.uuidValue)
        return (due, answer["next_ms"]?.intValue)
    }

    /// Puts a session of an agent that is gone back into the queue, if its team wants that.
    func releaseAbsent(_ tenant: Tenant, _ session: UUID, agent: UUID) async throws {
        _ = try await postgres.query(
            "select assignment.release_absent($1, $2, $3, $4)",
            [.uuid(tenant.id), .string(tenant.code), .uuid(session), .uuid(agent)]
        )
    }

    /// Which of these conversations, each of a tenant's code, have a session that is not closed; their
    /// places, ascending.
    func open(_ conversations: [(tenant: String, id: UUID)]) async throws -> [Int] {
        let rows = try await postgres.read(
            """
            select c.place - 1 as place
            from unnest($1::text[], $2::uuid[]) with ordinality as c (tenant, id, place)
            join platform.tenants t on t.code = c.tenant
            where exists (select from assignment.sessions s where s.tenant_id = t.id
              and s.conversation_id = c.id and s.state <> 'closed')
            order by 1
            """,
            [.strings(conversations.map(\.tenant)), .uuids(conversations.map(\.id))]
        )
        return try rows.map { try $0.int("place") }
    }

    /// Somebody wrote in a conversation; the session that queues again for that, because its owner is
    /// gone.
    func messageCame(_ said: Said) async throws -> (Tenant, Session)? {
        let rows = try await postgres.query(
            "select id, assignment.message_came(id, code, $2, $3, $4, $5::timestamptz) as answer "
                + "from platform.tenants where code = $1",
            [
                .string(said.tenant), .uuid(said.conversation), .string(said.sender.rawValue),
                PostgresValue(said.agent), .string(RFC3339.string(said.at)),
            ]
        )
        guard let row = rows.first, let session = Session(try JSON(stored: row)) else { return nil }
        return (Tenant(id: try row.uuid("id"), code: said.tenant), session)
    }

    /// Tells who waits of a changed place.
    func tellPositions(_ tenant: Tenant, perTeam: Int) async throws {
        _ = try await postgres.query(
            "select assignment.tell_positions($1, $2, $3)",
            [.uuid(tenant.id), .string(tenant.code), .int(perTeam)]
        )
    }

    /// Sessions as they were when they were opened, oldest first.
    func opened(_ tenant: Tenant, from: Int64, to: Int64, limit: Int) async throws -> [JSON] {
        let rows = try await postgres.query(
            """
            select after as answer from platform.audit
            where tenant_id = $1 and action = 'session.open'
              and at >= $2::timestamptz and at < $3::timestamptz order by at, id limit $4
            """,
            [
                .uuid(tenant.id), .string(RFC3339.string(from)), .string(RFC3339.string(to)),
                .int(limit),
            ]
        )
        return try rows.map { try JSON(stored: $0) }
    }

    /// Looks at an agent again then.
    func watchAgain(_ tenant: Tenant, _ agent: UUID, at due: Int64) async throws {
        _ = try await postgres.query(
            "select assignment.ensure_timer($1, $2, 'offline_grace', $3, 0, "
                + "to_timestamp($4::float8 / 1000))",
            [.uuid(tenant.id), .string(tenant.code), .uuid(agent), .double(Double(due))]
        )
    }
}
