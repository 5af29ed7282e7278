internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Platform
internal import Tracing

/// What a handover asks for.
struct HandoverRequest: Sendable {
    let conversationID: UUID
    let contactID: String
    var teamID: UUID?
    /// 0 is the most urgent; nil leaves it as it is.
    var priority: Int?
    var context: JSON = [:]
    /// By when somebody must have it, milliseconds since 1970; nil leaves that to the priority.
    var dueAt: Int64?
    var source = RunSource.handover
}

/// What came of a run.
struct RunResult: Sendable {
    let outcome: Outcome
    let reason: String
    let agentID: UUID?
    /// Nil when there was nothing to decide, because somebody has it already.
    let strategy: Strategy?
    /// The row that says why; nil likewise.
    let decisionID: UUID?
    let session: Session
}

/// Hands conversations to people: one pipeline, and a stored reason for every run.
@LoopActor
final class AssignmentService {
    /// How often a run looks again when everybody that it chose had filled up meanwhile.
    static let looksLimit = 3

    let sessions: SessionRepository
    let planner: RunPlanner
    let dispatcher: StrategyDispatcher
    private let claims: Claims
    let retries: EngineRetries
    let logger: Logger

    init(
        sessions: SessionRepository,
        contexts: any RoundRobinContextProvider,
        retries: EngineRetries,
        logger: Logger
    ) {
        self.sessions = sessions
        planner = RunPlanner(sessions: sessions)
        dispatcher = StrategyDispatcher(contexts: contexts)
        claims = Claims(sessions)
        self.retries = retries
        self.logger = logger
    }

    /// Loads the conversation's session, sets team and context, saves, and runs the engine: the engine
    /// alone decides, there is no second path.
    ///
    /// A session that somebody owns already is answered as it is.
    func requestAssignment(
        _ tenant: Tenant,
        _ request: HandoverRequest,
        audit: AuditNote
    ) async throws -> (created: Bool, result: RunResult) {
        try await FaultPoints.reached("session.before_open")
        // One statement loads it, sets team and context, and saves.
        let (created, session) = try await withSpan("assignment.open") {
            try await sessions.open(tenant, request, audit: audit)
        }
        try await FaultPoints.reached("session.opened")
        return (created, try await run(tenant, session, source: request.source))
    }

    /// Runs the engine for one session: strategy, claim, decision.
    func assignSession(
        _ tenant: Tenant,
        _ session: Session,
        source: RunSource = .manual
    ) async throws -> RunResult {
        try await run(tenant, session, source: source)
    }

    /// A run, as a step of its trace.
    func run(
        _ tenant: Tenant,
        _ session: Session,
        source: RunSource,
        preferred: UUID? = nil
    ) async throws -> RunResult {
        try await withSpan("engine.run") {
            let result = try await decide(tenant, session, source: source, preferred: preferred)
            Span.current?.note(result, source)
            return result
        }
    }

    /// The run: facts, decision, turn, claim.
    ///
    /// Whatever happens, a decision is stored.
    ///
    /// - Parameter preferred: who is asked before anybody else.
    private func decide(
        _ tenant: Tenant,
        _ session: Session,
        source: RunSource,
        preferred: UUID?
    ) async throws -> RunResult {
        let began = MonotonicTime.now()
        guard session.state == "queued" else { return settled(session, session.document) }
        var turn: Int?
        var isSticky = true
        for look in 1... {
            let planned = { [planner, isSticky] turn in
                try await planner.plan(
                    tenant,
                    session.document,
                    source: source,
                    preferred: preferred,
                    isSticky: isSticky,
                    turn: turn
                )
            }
            var plan = try await withSpan("engine.look") { try await planned(turn) }
            do {
                if turn == nil, plan.countsFirst {
                    turn = try await count(tenant, plan)
                    if turn == nil { plan.choosing = nil } else { plan = try await planned(turn) }
                }
                plan.decision.roundRobinIndex = turn
                guard let choosing = plan.choosing else {
                    return try await leave(tenant, session, plan, since: began)
                }
                let asked = MonotonicTime.now()
                try await order(tenant, choosing, &plan)
                Span.past("engine.turn", since: asked)
                turn = plan.decision.roundRobinIndex
                plan.decision.reason = choosing.reason
            } catch let error as CoordinationError {
                return try await fail(tenant, session, plan, error, since: began)
            }
            try await FaultPoints.reached("session.turn_taken")
            plan.decision.note = plan.partialLook
            plan.decision.tookMilliseconds = (MonotonicTime.now() - began).inSeconds * 1000
            let claim = try await withSpan("engine.claim") {
                try await claims.claim(AskedClaim(tenant: tenant, session: session.id, plan: plan))
            }
            try await FaultPoints.reached("session.claimed")
            if let result = claimed(claim, session, plan) { return result }
            // Those who were chosen filled up since the look; the turn that was taken stays ours.
            isSticky = false
            if claim.result == .busy || look == AssignmentService.looksLimit {
                let reason = claim.result == .busy ? "busy" : "no_capacity"
                plan.end = Ending(outcome: .skip, reason: reason)
                return try await leave(tenant, session, plan, since: began)
            }
        }
        preconditionFailure("the last look returns")
    }

    /// Counts a turn of a large team, which has to be known before it is looked at; none, and nil, when
    /// everybody has gone since the look.
    private func count(_ tenant: Tenant, _ plan: RunPlan) async throws -> Int? {
        let ring = try await planner.ring(tenant, team: plan.session.teamID)
        guard ring > 0 else { return nil }
        return try await dispatcher.pickNextRoundRobinId(
            among: ring,
            contextKey: contextKey(tenant, plan)
        )
    }

    /// Puts the candidates into their order; counts a turn unless this run has one already.
    private func order(
        _ tenant: Tenant,
        _ choosing: Choosing,
        _ plan: inout RunPlan
    ) async throws(CoordinationError) {
        guard let strategy = choosing.strategy else {
            plan.decision.order = choosing.candidates
            return
        }
        let choice = try await dispatcher.pickAgentForSession(
            choosing.candidates,
            strategy: strategy,
            contextKey: contextKey(tenant, plan),
            turn: plan.decision.roundRobinIndex,
            clock: plan.clock
        )
        plan.decision.order = choice.order
        plan.decision.roundRobinIndex = choice.roundRobinIndex
    }

    /// Whose turns they are: the team's, or of a session without one the tenant's.
    func contextKey(_ tenant: Tenant, _ plan: RunPlan) -> String {
        (plan.session.teamID ?? tenant.id).text
    }
}

extension Span {
    fileprivate func note(_ result: RunResult, _ source: RunSource) {
        note("source", .text(source.rawValue))
        note("outcome", .text(result.outcome.rawValue))
        note("reason", .text(result.reason))
        note("session_id", .text(result.session.id.text))
    }
}
