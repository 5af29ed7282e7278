internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging
internal import Platform
internal import PostgresClient

/// Finds out whether a message was sent of which nobody knows, and settles it by its channel's
/// policy.
///
/// It is looked for where its attempt went, whatever its channel has been changed to since; where that
/// cannot be looked at any more a person has to decide, and where nobody answers, after a day of looks
/// that come 5 minutes apart at most. It is sent again only after two looks, some seconds apart, did not find it.
@LoopActor
final class UnknownVerifier {
    /// The timer of the first look; `finish_send` sets it.
    nonisolated static let first = "unknown_verify"
    /// The timer of the second.
    nonisolated static let second = "unknown_verify_again"
    /// Between the two.
    nonisolated static let pauseMilliseconds: Int64 = 5_000
    /// How long after the attempt the first look is.
    nonisolated static let firstMilliseconds: Int64 = 3_000
    /// A look that did not see the message means that it is not there only this long after its
    /// attempt: providers show late what they took.
    nonisolated static let settledMilliseconds: Int64 = 8_000

    /// Nobody can tell at the moment: the timer comes again.
    struct NotNow: Error {
        let reason: String
    }

    private let parts: SendParts
    private let requests: MessageRequestRepository
    private let wake: @LoopActor () -> Void
    private var memory = LookMemory()

    init(
        _ parts: SendParts,
        requests: MessageRequestRepository,
        wake: @escaping @LoopActor () -> Void
    ) {
        self.parts = parts
        self.requests = requests
        self.wake = wake
    }

    /// Acts for a timer; safe to repeat.
    func handle(_ timer: DueTimer) async throws {
        guard timer.kind == UnknownVerifier.first || timer.kind == UnknownVerifier.second,
            let request = try await parts.repository.unknown(timer.tenantID, timer.refID),
            Int64(request.generation) == timer.refSeq
        else { return }
        let job = MessageReference(
            tenantID: timer.tenantID,
            tenant: timer.tenant,
            messageRequestID: timer.refID,
            generation: request.generation,
            channelCode: request.channelCode
        )
        let fence = request.attemptToken
        if let decision = UnknownDecision.before(request.policy) {
            return try await follow(decision, job, fence)
        }
        guard request.gone == nil, let message = ResolvedMessage(job, request) else {
            return try await follow(.park(reason: request.gone ?? "no_target"), job, fence)
        }
        guard let finding = try await finding(message, timer, request) else { return }
        let isSettled = request.unknownFor >= .milliseconds(UnknownVerifier.settledMilliseconds)
        let decision = UnknownDecision.after(
            finding,
            isSecond: timer.kind == UnknownVerifier.second && isSettled,
            unknownFor: request.unknownFor
        )
        try await follow(decision, job, fence)
    }

    /// What an earlier look says, or a new one; nil when its turn comes later.
    private func finding(
        _ message: ResolvedMessage,
        _ timer: DueTimer,
        _ request: UnknownRequest
    ) async throws -> Finding? {
        let key = UnknownVerifier.key(message)
        let isSecond = timer.kind == UnknownVerifier.second
        let remembered = memory.finding(
            of: message.job,
            in: key,
            since: request.begun,
            unknownFor: request.unknownFor,
            needs: isSecond
                ? .milliseconds(UnknownVerifier.settledMilliseconds)
                : .milliseconds(UnknownVerifier.firstMilliseconds),
            now: EventLoop.shared.now
        )
        if let remembered { return remembered }
        let wait = try await parts.slots.reserveLook(message)
        guard wait == .zero else {
            // Its turn is no failure: it does not count among the looks that told nothing.
            try await set(timer.kind, message.job, after: wait)
            return nil
        }
        let since = request.begun - LookMemory.reachSeconds
        let sightings = try await look(message, since: since)
        switch sightings {
        case .seen(let marks):
            memory.note(key, marks, since: since, now: EventLoop.shared.now)
        case .limited(let wait):
            try await parts.slots.blockLooks(message, for: wait)
            try await set(timer.kind, message.job, after: wait)
            return nil
        case .later, .impossible: break
        }
        return sightings.finding(of: message.job)
    }

    private static func key(_ message: ResolvedMessage) -> String {
        let channel = message.channel
        return "\(message.job.tenant)|\(channel.workspaceCode)|\(channel.providerChannelID)"
            + "|\(message.content.threadTS ?? "")"
    }

    private func look(_ message: ResolvedMessage, since: Int64) async throws -> Sightings {
        guard let transport = parts.transports[message.channel.provider] else {
            return .impossible(reason: "no_transport")
        }
        let token: Secret?
        do {
            token = try parts.resolver.token(of: message)
        } catch {
            return .later(reason: "token_does_not_open")
        }
        try await FaultPoints.reached("dispatch.before_look")
        return await transport.look(message, token: token, since: since)
    }

    private func follow(
        _ decision: UnknownDecision,
        _ job: MessageReference,
        _ fence: UUID?
    ) async throws {
        switch decision {
        case .sent(let ts): try await settle(job, fence, .init(state: .sent, providerTS: ts))
        case .lookAgain:
            try await set(
                UnknownVerifier.second,
                job,
                after: .milliseconds(UnknownVerifier.pauseMilliseconds)
            )
        case .sendAgain(let reason):
            try await settle(job, fence, .init(state: .retryWait, error: reason))
        case .later(let reason): throw NotNow(reason: reason)
        case .park(let reason): try await park(job, fence, reason)
        case .leave: parked(job, "policy")
        }
    }

    private func set(_ kind: String, _ job: MessageReference, after wait: Duration) async throws {
        _ = try await parts.repository.postgres.query(
            "select platform.set_timer($1, $2, $3, $4, $5, $6, now() + $7 * interval '1 ms', '{}')",
            [
                "dispatch-worker", .uuid(job.tenantID), .string(job.tenant), .string(kind),
                .uuid(job.messageRequestID), .int(Int64(job.generation)), .int(wait.milliseconds),
            ]
        )
    }

    private func park(_ job: MessageReference, _ fence: UUID?, _ reason: String) async throws {
        try await parts.repository.park(job, fence, error: "not_looked_up: \(reason)")
        parked(job, reason)
        wake()
    }

    private func parked(_ job: MessageReference, _ reason: String) {
        parts.metrics.needs(.parked)
        parts.logger.error(
            "a message stays unknown: somebody has to look",
            metadata: [
                "tenant": "\(job.tenant)", "error": "\(reason)",
                "message_request_id": "\(job.messageRequestID.text)",
            ]
        )
    }

    private func settle(
        _ job: MessageReference,
        _ fence: UUID?,
        _ settlement: MessageRequestRepository.Settlement
    ) async throws {
        try await FaultPoints.reached("dispatch.before_settle")
        guard
            let document = try await requests.settle(
                job.tenantID,
                job.messageRequestID,
                generation: job.generation,
                settlement,
                fence: fence
            )
        else { return }
        // The database has decided: whatever lock the lost attempt left is in the way.
        await parts.idempotency.dropSendLock(job.tenant, job.messageRequestID)
        let status = document["status"]?.stringValue ?? ""
        parts.logger.info(
            "an unknown message was settled",
            metadata: [
                "tenant": "\(job.tenant)", "state": "\(status)",
                "message_request_id": "\(job.messageRequestID.text)",
            ]
        )
        try? await parts.resolver.projection.note(
            job,
            status: status,
            providerTS: settlement.providerTS
        )
        wake()
    }
}
