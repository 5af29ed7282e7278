internal import Coordination
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import JobQueue
internal import Logging
internal import Outbox
internal import Platform
internal import PostgresClient
internal import RedisClient
internal import Telemetry
internal import Tracing

/// Turns accepted requests into dispatched ones with a job each, once, and shows them in Redis.
///
/// It reads no configuration and no secret: what the message needs is looked up when it is sent.
@LoopActor
final class MessageRequestProjector {
    /// The group in which all dispatchers read.
    nonisolated static let group = "dispatch-worker"

    /// What became of a request.
    enum Outcome: String, Sendable {
        case dispatched
        /// It was dispatched before, or somebody is at it.
        case skipped
        /// Not one of ours.
        case ignored
    }

    private let parts: SendParts

    init(_ parts: SendParts) { self.parts = parts }

    /// Handles events; throws when they must come again.
    func handle(_ entries: [StreamEntry]) async throws {
        let began = MonotonicTime.now()
        var accepted: [DispatchRepository.Accepted] = []
        for entry in entries {
            if let request = try await request(in: entry) { accepted.append(request) }
        }
        guard !accepted.isEmpty else { return }
        let outcomes = try await dispatchSendMessageJob(accepted)
        try await FaultPoints.reached("dispatch.projected")
        for (request, outcome) in zip(accepted, outcomes) { note(request, outcome) }
        for entry in entries {
            Span.past("dispatch.project", .consumer, below: entry.trace, since: began)
        }
    }

    private func request(in entry: StreamEntry) async throws -> DispatchRepository.Accepted? {
        guard entry.fields["name"] == "message_request.accepted",
            let tenant = entry.fields["tenant"],
            let data = entry.fields["data"].flatMap({ try? JSON(parsing: Array($0.utf8)) }),
            let id = data["id"]?.stringValue.flatMap(UUID.init(text:)),
            let tenantID = try await parts.tenants.id(of: tenant)
        else { return nil }
        return DispatchRepository.Accepted(
            tenantID: tenantID,
            tenant: tenant,
            id: id,
            generation: Int(data["generation"]?.intValue ?? 1)
        )
    }

    private func note(_ request: DispatchRepository.Accepted, _ outcome: Outcome) {
        if outcome == .skipped { parts.metrics.dispatchSkipped() }
        parts.logger.debug(
            "projected",
            metadata: [
                "tenant": "\(request.tenant)", "message_request_id": "\(request.id.text)",
                "state": "\(outcome.rawValue)",
            ]
        )
    }

    /// Dispatches each request once: the lock keeps double work away, the state in PostgreSQL
    /// decides, and the locks are freed when a job could not be queued.
    func dispatchSendMessageJob(
        _ requests: [DispatchRepository.Accepted]
    ) async throws -> [Outcome] {
        let locks = try await parts.idempotency.acquireDispatchLocks(requests)
        let ours = requests.indices.filter { locks[$0] != nil }
        var outcomes = [Outcome](repeating: .skipped, count: requests.count)
        guard !ours.isEmpty else { return outcomes }
        do {
            try await FaultPoints.reached("dispatch.dispatch_locked")
            let dispatched = try await dispatch(ours.map { requests[$0] })
            for index in ours { outcomes[index] = .ignored }
            for result in dispatched {
                outcomes[ours[result.place]] = result.isFirst ? .dispatched : .skipped
            }
            return outcomes
        } catch {
            for index in ours {
                guard let token = locks[index] else { continue }
                let request = requests[index]
                await parts.idempotency.releaseDispatchLock(
                    request.tenant,
                    request.id,
                    token: token
                )
            }
            throw error
        }
    }

    /// Commits the dispatch, shows the requests, and queues a job for each that waits for one.
    func dispatch(
        _ requests: [DispatchRepository.Accepted]
    ) async throws -> [DispatchRepository.Dispatched] {
        let dispatched = try await parts.dispatches.markDispatched(requests)
        try await FaultPoints.reached("dispatch.dispatched")
        await project(
            dispatched.map { result in
                .init(
                    tenant: requests[result.place].tenant,
                    id: requests[result.place].id,
                    document: result.document
                )
            }
        )
        try await FaultPoints.reached("dispatch.before_enqueue")
        try await parts.queue.enqueueSimpleSendMessageJob(dispatched.compactMap(\.job))
        try await FaultPoints.reached("dispatch.enqueued")
        return dispatched
    }

    private func project(_ requests: [MessageRequestProjection.Shown]) async {
        do {
            try await parts.resolver.projection.store(requests)
        } catch {
            // The sender reads PostgreSQL instead.
            Degradation.note("projection")
        }
    }
}
