internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Outbox
internal import Platform
internal import PostgresClient
internal import Telemetry

/// Turns accepted requests into dispatched ones, each once, and shows them in Redis.
///
/// It reads no configuration and no secret: what the message needs is looked up when it is sent.
@LoopActor
final class MessageRequestProjector {
    /// The group in which all dispatchers read.
    nonisolated static let group = "dispatch-worker"
    /// How many tenants are remembered; above it the memory starts anew.
    nonisolated static let tenantsLimit = 10_000

    /// What became of an event.
    enum Outcome: Sendable, Hashable {
        case dispatched
        /// It was dispatched before, or somebody is at it.
        case skipped
        /// Not one of ours.
        case ignored
    }

    private let parts: SendParts
    private let wake: @LoopActor () -> Void
    private var tenants: [String: UUID] = [:]

    init(_ parts: SendParts, wake: @escaping @LoopActor () -> Void) {
        self.parts = parts
        self.wake = wake
    }

    /// Handles an event; throws when it must come again.
    @discardableResult
    func handle(_ entry: StreamEntry) async throws -> Outcome {
        guard entry.fields["name"] == "message_request.accepted",
            let tenant = entry.fields["tenant"],
            let data = entry.fields["data"].flatMap({ try? JSON(parsing: Array($0.utf8)) }),
            let id = data["id"]?.stringValue.flatMap(UUID.init(uuidString:))
        else { return .ignored }
        let generation = Int(data["generation"]?.intValue ?? 1)
        let outcome = try await dispatchSendMessageJob(tenant, id, generation: generation)
        try await FaultPoints.reached("dispatch.projected")
        if outcome == .skipped { parts.metrics.dispatchSkipped() }
        parts.logger.debug(
            "projected",
            metadata: [
                "tenant": "\(tenant)", "message_request_id": "\(id.text)", "state": "\(outcome)",
            ]
        )
        return outcome
    }

    /// Dispatches once: the lock keeps double work away, the state in PostgreSQL decides.
    func dispatchSendMessageJob(
        _ tenant: String,
        _ id: UUID,
        generation: Int
    ) async throws -> Outcome {
        guard let tenantID = try await tenantID(tenant) else { return .ignored }
        let token = DispatchIdempotencyService.dispatchToken(generation: generation)
        guard try await parts.idempotency.acquireDispatchLock(tenant, id, token: token) else {
            return .skipped
        }
        do {
            try await FaultPoints.reached("dispatch.dispatch_locked")
            let answer = try await parts.repository.markDispatched(
                tenantID,
                id,
                generation: generation
            )
            try await FaultPoints.reached("dispatch.dispatched")
            guard let answer, let document = answer["request"] else { return .ignored }
            await project(tenant, id, document)
            wake()
            return answer["dispatched"] == true ? .dispatched : .skipped
        } catch {
            await parts.idempotency.releaseDispatchLock(tenant, id, token: token)
            throw error
        }
    }

    private func project(_ tenant: String, _ id: UUID, _ document: JSON) async {
        do {
            try await parts.resolver.projection.store(tenant, id, document: document)
        } catch {
            // The sender reads PostgreSQL instead.
            Degradation.note("projection")
        }
    }

    private func tenantID(_ code: String) async throws -> UUID? {
        if let known = tenants[code] { return known }
        let rows = try await parts.repository.postgres.read(
            "select id from platform.tenants where code = $1",
            [.string(code)]
        )
        guard let id = try rows.first?.uuid("id") else { return nil }
        if tenants.count >= MessageRequestProjector.tenantsLimit { tenants.removeAll() }
        tenants[code] = id
        return id
    }
}
