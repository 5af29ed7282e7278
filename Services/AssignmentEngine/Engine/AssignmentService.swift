internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Platform

/// What a handover asks for.
struct HandoverRequest: Sendable {
    let conversationID: UUID
    let contactID: String
    var teamID: UUID?
    /// 0 is the most urgent; nil leaves it as it is.
    var priority: Int?
    var context: JSON = [:]
    var source = RunSource.handover
}

/// What came of a run.
struct RunResult: Sendable {
    let outcome: Outcome
    let reason: String
    let agentID: UUID?
    let strategy: Strategy
    let decisionID: UUID
    let session: Session
}

/// Hands conversations to people: one pipeline, and a stored reason for every run.
@LoopActor
final class AssignmentService {
    private let sessions: SessionRepository
    private let dispatcher: StrategyDispatcher
    private let retries: EngineRetries
    private let logger: Logger

    init(
        sessions: SessionRepository,
        contexts: any RoundRobinContextProvider,
        retries: EngineRetries,
        logger: Logger
    ) {
        self.sessions = sessions
        dispatcher = StrategyDispatcher(contexts: contexts)
        self.retries = retries
        self.logger = logger
    }

    /// Loads the conversation's session, sets team and context, saves, and runs the engine.
    ///
    /// A session that somebody owns already is answered as it is.
    func requestAssignment(
        _ tenant: Tenant,
        _ request: HandoverRequest
    ) async throws -> (created: Bool, result: RunResult) {
        try await FaultPoints.reached("session.before_open")
        let (created, session) = try await sessions.open(tenant, request)
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

    /// The run: roster, candidates, order, claim.
    ///
    /// Whatever happens, a decision is stored.
    func run(_ tenant: Tenant, _ session: Session, source: RunSource) async throws -> RunResult {
        let began = MonotonicTime.now()
        var decision = Decision(source: source, reason: "no_members", strategy: .roundRobin)
        guard session.state == "queued" else { return settled(session, decision) }
        guard let strategy = try await sessions.strategy(tenant, team: session.teamID) else {
            decision.reason = "no_team"
            return try await leave(tenant, session, decision, since: began)
        }
        decision.strategy = strategy
        let roster = try await sessions.roster(tenant, team: session.teamID)
        let pipeline = CandidatePipeline(roster: roster, units: session.units)
        decision.rejected = pipeline.rejected
        guard !pipeline.candidates.isEmpty else {
            decision.reason = roster.isEmpty ? "no_members" : "no_candidates"
            return try await leave(tenant, session, decision, since: began)
        }
        do {
            let choice = try await dispatcher.pickAgentForSession(
                pipeline.candidates,
                strategy: strategy,
                contextKey: (session.teamID ?? tenant.id).text
            )
            decision.order = choice.order
            decision.roundRobinIndex = choice.roundRobinIndex
        } catch {
            return try await fail(tenant, session, decision, error, since: began)
        }
        try await FaultPoints.reached("session.turn_taken")
        return try await claim(tenant, session, decision, since: began)
    }

    private func claim(
        _ tenant: Tenant,
        _ session: Session,
        _ decision: Decision,
        since began: MonotonicTime
    ) async throws -> RunResult {
        var decision = decision
        decision.tookMilliseconds = (MonotonicTime.now() - began).inSeconds * 1000
        let claim = try await sessions.claim(
            tenant,
            session.id,
            order: decision.order.map(\.id),
            decision: decision
        )
        try await FaultPoints.reached("session.claimed")
        switch claim.result {
        case .assigned:
            return RunResult(
                outcome: .assign,
                reason: "assigned",
                agentID: claim.agentID,
                strategy: decision.strategy,
                decisionID: decision.id,
                session: claim.session ?? session
            )
        case .taken:
            return settled(claim.session ?? session, decision)
        case .busy:
            decision.reason = "busy"
        case .noCapacity:
            decision.reason = "no_capacity"
        }
        return try await leave(tenant, session, decision, since: began)
    }

    /// Nobody got it; the session stays queued.
    private func leave(
        _ tenant: Tenant,
        _ session: Session,
        _ decision: Decision,
        since began: MonotonicTime
    ) async throws -> RunResult {
        var decision = decision
        decision.tookMilliseconds = (MonotonicTime.now() - began).inSeconds * 1000
        let left = try await sessions.leave(tenant, session.id, decision: decision)
        return RunResult(
            outcome: decision.outcome,
            reason: decision.reason,
            agentID: nil,
            strategy: decision.strategy,
            decisionID: decision.id,
            session: left ?? session
        )
    }

    /// The shared counter is away: nothing about the owner changes, and a timer tries again.
    private func fail(
        _ tenant: Tenant,
        _ session: Session,
        _ decision: Decision,
        _ error: CoordinationError,
        since began: MonotonicTime
    ) async throws -> RunResult {
        logger.warning(
            "round robin is not to be had: the session stays queued",
            metadata: ["session_id": "\(session.id.text)", "reason": "\(error)"]
        )
        var decision = decision
        decision.outcome = .error
        decision.reason = "redis_unavailable"
        let result = try await leave(tenant, session, decision, since: began)
        try await retries.schedule(tenant, session.id)
        return result
    }

    /// Somebody has it, or it is closed: there was nothing to decide.
    private func settled(_ session: Session, _ decision: Decision) -> RunResult {
        let owner = session.document["assignee_id"]?.stringValue.flatMap(UUID.init(uuidString:))
        return RunResult(
            outcome: owner == nil ? .stop : .assign,
            reason: owner == nil ? session.state : "already_assigned",
            agentID: owner,
            strategy: decision.strategy,
            decisionID: decision.id,
            session: session
        )
    }
}
