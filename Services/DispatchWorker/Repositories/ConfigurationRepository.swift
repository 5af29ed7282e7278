internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient

/// Who carries a workspace's messages.
enum Provider: String, Sendable, CaseIterable {
    case slack, local, webhook
}

/// What happens to a message of which nobody knows whether it was sent.
enum UnknownPolicy: String, Sendable, CaseIterable {
    case verify, resend, park
}

/// A workspace as it is put.
struct WorkspaceDraft: Sendable {
    let provider: Provider
    var teamID: String?
    /// The team that Slack has just said the token is of; nil when it said nothing.
    var provenTeamID: String?
    /// The Slack app whose events are the workspace's; nil keeps it.
    let appID: String?
    let baseURL: String?
    let token: Secret?
    let signingSecret: Secret?
}

/// A channel as it is put.
struct ChannelDraft: Sendable {
    let workspaceCode: String
    let providerChannelID: String
    let policy: UnknownPolicy?
    let perSecond: Double?
    let burst: Int?
    /// As ``QuietHours`` reads them, `{}` for none; nil keeps them.
    let quietHours: JSON?
}

/// The places of the secrets of a workspace: a secret opens only at its own.
enum SecretPlace {
    static let token = "slack_token"
    static let signing = "slack_signing"

    static func context(_ tenant: String, _ kind: String, _ code: String) -> String {
        "\(tenant)|\(kind)|\(code)"
    }
}

/// Workspaces and channels, in the schema `dispatch`.
@LoopActor
struct ConfigurationRepository {
    let postgres: PostgresClient
    let box: SecretBox

    /// Makes or changes a workspace: `{created, workspace}`; secrets are sealed before they leave.
    func put(
        _ tenant: Tenant,
        workspace code: String,
        _ draft: WorkspaceDraft,
        _ note: AuditNote
    ) async throws -> JSON {
        var secrets: [JSON] = []
        for (kind, secret) in [
            (SecretPlace.token, draft.token), (SecretPlace.signing, draft.signingSecret),
        ] {
            guard let secret else { continue }
            let sealed = try box.seal(
                secret,
                context: SecretPlace.context(tenant.code, kind, code)
            )
            secrets.append([
                "kind": .string(kind), "key_id": .string(sealed.keyID),
                "sealed": .string(Data(sealed.bytes).base64EncodedString()),
            ])
        }
        return try JSON(
            stored: try await postgres.query(
                """
                select dispatch.put_workspace($1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9, $10, $11)
                  as answer
                """,
                [
                    .uuid(tenant.id), .string(code), .string(draft.provider.rawValue),
                    PostgresValue(draft.teamID), PostgresValue(draft.baseURL),
                    .json(JSON.array(secrets).text), .string(note.actor),
                    .string(note.requestID), .string(tenant.code),
                    PostgresValue(draft.provenTeamID), PostgresValue(draft.appID),
                ]
            ).one()
        )
    }

    /// The workspace of this code, its secrets hidden; nil when there is none.
    func workspace(_ tenant: Tenant, _ code: String) async throws -> JSON? {
        let rows = try await postgres.read(
            """
            select dispatch.workspace_json(w) as answer from dispatch.workspaces w
             where w.tenant_id = $1 and w.code = $2
            """,
            [.uuid(tenant.id), .string(code)]
        )
        return try rows.first.map { try JSON(stored: $0) }
    }

    /// Makes or changes a channel: `{created, channel}` or `{missing: "workspace"}`.
    func put(
        _ tenant: Tenant,
        channel code: String,
        _ draft: ChannelDraft,
        _ note: AuditNote
    ) async throws -> JSON {
        try JSON(
            stored: try await postgres.query(
                """
                select dispatch.put_channel($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10, $11)
                  as answer
                """,
                [
                    .uuid(tenant.id), .string(tenant.code), .string(code),
                    .string(draft.workspaceCode), .string(draft.providerChannelID),
                    PostgresValue(draft.policy?.rawValue), PostgresValue(draft.perSecond),
                    PostgresValue(draft.burst), draft.quietHours.map { .json($0.text) } ?? .null,
                    .string(note.actor), .string(note.requestID),
                ]
            ).one()
        )
    }

    /// The channel of this code; nil when there is none.
    func channel(_ tenant: Tenant, _ code: String) async throws -> JSON? {
        let rows = try await postgres.read(
            """
            select dispatch.channel_json(c) as answer from dispatch.channels c
             where c.tenant_id = $1 and c.code = $2
            """,
            [.uuid(tenant.id), .string(code)]
        )
        return try rows.first.map { try JSON(stored: $0) }
    }

    /// What the embedded transport delivered, the newest first, one more than `limit`.
    func localOutbox(
        _ tenant: Tenant,
        channel: String?,
        limit: Int,
        before: String?
    ) async throws -> [JSON] {
        let rows = try await postgres.query(
            """
            select to_jsonb(o) - 'tenant_id'
                   || jsonb_build_object('delivered_at', platform.rfc3339(o.delivered_at)) as answer
              from dispatch.local_outbox o
             where o.tenant_id = $1 and ($2::text is null or o.channel_code = $2)
               and ($3::text is null or o.ts < $3)
             order by o.ts desc limit $4
            """,
            [
                .uuid(tenant.id), PostgresValue(channel), PostgresValue(before),
                .int(Int64(limit + 1)),
            ],
            idempotent: true
        )
        return try rows.map { try JSON(stored: $0) }
    }
}
