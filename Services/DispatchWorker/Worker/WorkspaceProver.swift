internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Platform
internal import PostgresClient

/// Asks Slack whose the token of a workspace is, so that its claim on a team is proven.
@LoopActor
final class WorkspaceProver {
    /// The timer; `ask_whose_team` sets it, with the workspace as its reference.
    nonisolated static let kind = "workspace_proof"

    /// Slack was not reached: the timer comes again.
    struct NotReached: Error {
        let reason: String
    }

    private let parts: SendParts
    private let wake: @LoopActor () -> Void

    /// - Parameter wake: called when a workspace was proven, which messaging is told of.
    init(_ parts: SendParts, wake: @escaping @LoopActor () -> Void) {
        self.parts = parts
        self.wake = wake
    }

    /// Acts for a timer; safe to repeat.
    func handle(_ timer: DueTimer) async throws {
        let rows = try await parts.repository.postgres.read(
            """
            select w.code, s.key_id, s.sealed
              from dispatch.workspaces w
              join platform.secrets s on s.tenant_id = w.tenant_id and s.kind = 'slack_token'
               and s.ref = w.code
             where w.tenant_id = $1 and w.id = $2 and w.provider = 'slack'
               and not dispatch.team_is_verified(w)
            """,
            [.uuid(timer.tenantID), .uuid(timer.refID)]
        )
        guard let row = rows.first,
            let slack = parts.transports[.slack] as? SlackApiService
        else { return }
        let code = try row.string("code")
        let token = try parts.resolver.box.open(
            SealedSecret(keyID: try row.string("key_id"), bytes: try row.bytes("sealed")),
            context: SecretPlace.context(timer.tenant, SecretPlace.token, code)
        )
        switch await slack.identify(token) {
        case .unreachable(let reason): throw NotReached(reason: reason)
        case .refused(let reason):
            parts.logger.warning(
                "Slack does not take a workspace's token: whose its team is stays unproven",
                metadata: [
                    "tenant": "\(timer.tenant)", "workspace": "\(code)", "reason": "\(reason)",
                ]
            )
        case .known(let team):
            _ = try await parts.repository.postgres.answer(
                "select dispatch.prove_workspace($1, $2, $3, $4) as answer",
                [
                    .uuid(timer.tenantID), .string(timer.tenant), .uuid(timer.refID), .string(team),
                ],
                idempotent: true
            )
            wake()
        }
    }
}
