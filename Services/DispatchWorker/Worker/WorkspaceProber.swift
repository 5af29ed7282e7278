internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Platform
internal import PostgresClient

/// Asks a workspace that refused us whether its token works by now, and lets it go on if so.
@LoopActor
final class WorkspaceProber {
    /// The timer; `pause_workspace` sets it, with the pause as its reference.
    nonisolated static let kind = "workspace_probe"

    /// It still refuses: the timer comes again.
    struct StillRefused: Error {
        let reason: String
    }

    private let parts: SendParts
    private let operations: OperationsRepository
    private let wake: @LoopActor () -> Void

    init(
        _ parts: SendParts,
        operations: OperationsRepository,
        wake: @escaping @LoopActor () -> Void
    ) {
        self.parts = parts
        self.operations = operations
        self.wake = wake
    }

    /// Acts for a timer; safe to repeat.
    func handle(_ timer: DueTimer) async throws {
        let rows = try await parts.repository.postgres.read(
            """
            select w.code, w.api_base_url, s.key_id, s.sealed
              from dispatch.pauses x
              join dispatch.workspaces w on w.tenant_id = x.tenant_id and w.code = x.code
              join platform.secrets s on s.tenant_id = w.tenant_id and s.kind = 'slack_token'
               and s.ref = w.code
             where x.tenant_id = $1 and x.id = $2 and x.ended_at is null and w.provider = 'slack'
            """,
            [.uuid(timer.tenantID), .uuid(timer.refID)]
        )
        guard let row = rows.first else { return }
        let code = try row.string("code")
        let token = try parts.resolver.box.open(
            SealedSecret(keyID: try row.string("key_id"), bytes: try row.bytes("sealed")),
            context: SecretPlace.context(timer.tenant, SecretPlace.token, code)
        )
        guard let slack = parts.transports[.slack] as? SlackApiService else { return }
        let identity = await slack.identify(token, baseURL: try row.optionalString("api_base_url"))
        guard case .known = identity else { throw StillRefused(reason: "\(identity)") }
        _ = try await parts.repository.postgres.answer(
            "select dispatch.end_pause($1, $2, 'dispatch-worker', '') as answer",
            [.uuid(timer.tenantID), .uuid(timer.refID)],
            idempotent: true
        )
        parts.logger.info(
            "a workspace works again",
            metadata: ["tenant": "\(timer.tenant)", "workspace": "\(code)"]
        )
        wake()
    }
}
