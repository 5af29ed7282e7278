internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient

/// Webhooks and their deliveries, in the schema `dispatch`.
@LoopActor
struct WebhookRepository {
    /// How long a delivery that was taken is ours.
    static let leaseMilliseconds: Int64 = 60_000
    /// After so long without a success deliveries fail, and their endpoint is disabled.
    static let giveUpDays = 5

    let postgres: PostgresClient
    let box: SecretBox

    /// A webhook as it is put.
    struct Draft: Sendable {
        let url: String
        let secret: Secret?
        let events: [String]
    }

    /// What goes to an endpoint, and how often it was tried.
    struct Delivery: Sendable {
        let tenantID: UUID
        let tenant: String
        let id: UUID
        let code: String
        let body: [UInt8]
        let attempts: Int
        let url: String
        let secret: SealedSecret

        var endpoint: Endpoint { Endpoint(tenantID: tenantID, code: code) }
    }

    /// The place of a webhook's secret.
    static func context(_ tenant: String, _ code: String) -> String {
        SecretPlace.context(tenant, "webhook", code)
    }

    /// Makes or changes a webhook: `{created, webhook}` or `{missing: "secret"}`.
    func put(
        _ tenant: Tenant,
        _ code: String,
        _ draft: Draft,
        _ note: AuditNote
    ) async throws -> JSON {
        var sealed = PostgresValue.null
        if let secret = draft.secret {
            let made = try box.seal(secret, context: WebhookRepository.context(tenant.code, code))
            let document: JSON = [
                "key_id": .string(made.keyID),
                "sealed": .string(Data(made.bytes).base64EncodedString()),
            ]
            sealed = .json(document.text)
        }
        return try await postgres.answer(
            "select dispatch.put_webhook($1, $2, $3, $4, $5::jsonb, $6, $7) as answer",
            [
                .uuid(tenant.id), .string(code), .string(draft.url), .strings(draft.events),
                sealed, .string(note.actor), .string(note.requestID),
            ]
        )
    }

    /// The webhook of this code with its last deliveries; nil when there is none.
    func find(_ tenant: Tenant, _ code: String) async throws -> JSON? {
        let rows = try await postgres.read(
            """
            select dispatch.webhook_json(w) || jsonb_build_object('deliveries', coalesce((
              select jsonb_agg(jsonb_build_object('id', d.id, 'event', d.event,
                'status', d.status, 'attempts', d.attempts, 'http_status', d.http_status,
                'error', d.last_error, 'next_attempt_at', case when d.status = 'pending'
                  then platform.rfc3339(d.next_attempt_at) end))
                from (select * from dispatch.webhook_deliveries x
                       where x.tenant_id = w.tenant_id and x.webhook_code = w.code
                       order by x.id desc limit 20) d), '[]')) as answer
              from dispatch.webhooks w where w.tenant_id = $1 and w.code = $2
            """,
            [.uuid(tenant.id), .string(code)]
        )
        return try rows.first.map { try JSON(stored: $0) }
    }

    /// Removes a webhook and what still waits for it; false when there is none.
    func remove(_ tenant: Tenant, _ code: String, _ note: AuditNote) async throws -> Bool {
        try await postgres.query(
            """
            with gone as (
              delete from dispatch.webhooks where tenant_id = $1 and code = $2
              returning code, url, events),
            secret as (
              delete from platform.secrets where tenant_id = $1 and kind = 'webhook' and ref = $2),
            noted as (
              select platform.note_audit($1, $3, 'webhook.delete', g.code,
                  jsonb_build_object('code', g.code, 'url', g.url, 'events', g.events), null, null, $4)
                from gone g)
            select (select count(*) from gone) as gone, (select count(*) from noted) as noted
            """,
            [.uuid(tenant.id), .string(code), .string(note.actor), .string(note.requestID)]
        ).one().int("gone") > 0
    }

    /// An endpoint of a tenant.
    struct Endpoint: Sendable, Hashable {
        let tenantID: UUID
        let code: String
    }

    /// How many deliveries may be under way at once.
    struct Places: Sendable {
        let all: Int
        let ofEndpoint: Int
        let ofTenant: Int
    }

    /// Takes what is due, as far as there are places.
    ///
    /// - Parameter underWay: the endpoint of each delivery that is under way here.
    func take(_ places: Places, underWay: [Endpoint]) async throws -> [Delivery] {
        let rows = try await postgres.query(
            """
            select * from dispatch.take_webhooks($1, $2, $3, $4::uuid[], $5::text[],
              $6 * interval '1 ms')
            """,
            [
                .int(places.all - underWay.count), .int(places.ofEndpoint), .int(places.ofTenant),
                .uuids(underWay.map(\.tenantID)), .strings(underWay.map(\.code)),
                .int(WebhookRepository.leaseMilliseconds),
            ]
        )
        return try rows.map { row in
            Delivery(
                tenantID: try row.uuid("tenant_id"),
                tenant: try row.string("tenant"),
                id: try row.uuid("id"),
                code: try row.string("webhook_code"),
                body: Array(try row.string("body").utf8),
                attempts: try row.int("attempts"),
                url: try row.string("url"),
                secret: SealedSecret(
                    keyID: try row.string("key_id"),
                    bytes: try row.bytes("sealed")
                )
            )
        }
    }

    /// How a delivery ended.
    struct Ending: Sendable {
        var isDelivered = false
        var httpStatus: Int?
        var error: String?
    }

    /// Records how a delivery ended; answers the state that came of it, `disabled` included.
    func finish(_ delivery: Delivery, _ ending: Ending, wait: Duration) async throws -> String {
        try await postgres.query(
            """
            select dispatch.finish_webhook($1, $2, $3, $4, $5, $6 * interval '1 ms',
              make_interval(days => $7)) as answer
            """,
            [
                .uuid(delivery.tenantID), .uuid(delivery.id), .bool(ending.isDelivered),
                PostgresValue(ending.httpStatus), PostgresValue(ending.error),
                .int(wait.milliseconds), .int(WebhookRepository.giveUpDays),
            ],
            idempotent: true
        ).one().string("answer")
    }
}
