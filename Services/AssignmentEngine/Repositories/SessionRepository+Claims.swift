internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

extension SessionRepository {
    /// Gives the session to the first of the plan's order that has room.
    ///
    /// - Parameter isPatient: waits while somebody else has the session in hand.
    func claim(_ asked: AskedClaim, isPatient: Bool = false) async throws -> Claim {
        var terms = asked.terms
        if isPatient { terms["patient"] = true }
        return try Claim(
            await call(
                "select assignment.claim_session($1, $2, $3, $4::uuid[], $5::jsonb, $6::jsonb) "
                    + "as answer",
                [
                    .uuid(asked.tenant.id), .string(asked.tenant.code), .uuid(asked.session),
                    .uuids(asked.agents), .json(asked.plan.decision.document.text),
                    .json(JSON.object(terms).text),
                ]
            )
        )
    }

    /// The same for several, in one commit.
    ///
    /// A claim that is not as simple as most is `alone`: it is
    /// left as it was.
    func claim(_ asked: [AskedClaim]) async throws -> [Claim] {
        if asked.count == 1 { return [try await claim(asked[0])] }
        let claims = JSON.array(asked.map(\.document))
        let rows = try await postgres.query(
            "select n, answer from assignment.claim_sessions($1::jsonb) order by n",
            [.json(claims.text)]
        )
        guard rows.count == asked.count else { throw UnexpectedAnswer(function: "claim_sessions") }
        return try rows.map { try Claim(JSON(stored: $0)) }
    }
}

extension AskedClaim {
    /// Who is tried, in this order.
    fileprivate var agents: [UUID] { plan.decision.order.prefix(Decision.listLimit).map(\.id) }

    fileprivate var terms: JSONObject {
        var terms = plan.policy.terms.objectValue ?? [:]
        terms["mode"] = plan.choosing?.takesAbsent == true ? "offline" : "free"
        terms["set"] = plan.wishes
        // A turn is this agent's and nobody else's; other orders may have changed since the look.
        if let strategy = plan.choosing?.strategy, strategy != .roundRobin {
            terms["rank"] = .string(strategy.rawValue)
            if plan.isWhole { terms["whole"] = true }
        }
        return terms
    }

    fileprivate var document: JSON {
        [
            "tenant": .string(tenant.id.text), "tenant_code": .string(tenant.code),
            "session": .string(session.text), "agents": .array(agents.map { .string($0.text) }),
            "decision": plan.decision.document, "terms": .object(terms),
        ]
    }
}

extension Claim {
    fileprivate init(_ answer: JSON) throws {
        guard let result = answer["result"]?.stringValue.flatMap(Claim.Result.init) else {
            throw UnexpectedAnswer(function: "claim_session")
        }
        self.init(
            result: result,
            agentID: answer["agent_id"]?.uuidValue,
            session: answer["session"].flatMap(Session.init)
        )
    }
}
