internal import Coordination
internal import EventLoop
internal import PostgresClient

/// The embedded transport: messages go to a table that `GET /v1/local-outbox` shows.
@LoopActor
final class LocalTransport: ChannelTransport {
    private let repository: SendRepository

    init(_ repository: SendRepository) {
        self.repository = repository
    }

    func send(_ message: ResolvedMessage, token: Secret?) async -> SendReport {
        do {
            let ts = try await repository.deliverLocally(message)
            return SendReport(outcome: .sent(providerTS: ts))
        } catch {
            return SendReport(outcome: LocalTransport.classify(error))
        }
    }

    /// A database that was not reached did not deliver; otherwise it may have.
    nonisolated static func classify(_ error: any Error) -> SendOutcome {
        guard let error = error as? PostgresError else { return .unknown(reason: "local_error") }
        switch error.code {
        case .poolExhausted, .encoding: return .retry(reason: "local_\(error.code)")
        default:
            return error.outcomeUnknown
                ? .unknown(reason: "local_\(error.code)") : .retry(reason: "local_\(error.code)")
        }
    }

    func look(_ message: ResolvedMessage, token: Secret?, since: Int64) async -> Sightings {
        do {
            let ts = try await repository.deliveredLocally(message.job)
            return .seen(ts.map { [message.job.mark: $0] } ?? [:])
        } catch {
            return .later(reason: "local_outbox_away")
        }
    }
}
