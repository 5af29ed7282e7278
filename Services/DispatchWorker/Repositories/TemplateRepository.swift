internal import EventLoop
internal import JSON
internal import Platform
internal import PostgresClient

/// Templates in the schema `dispatch`; a version never changes.
@LoopActor
struct TemplateRepository {
    let postgres: PostgresClient

    /// Makes the next version: `{created, template}`.
    func put(
        _ tenant: Tenant,
        _ code: String,
        _ template: Template,
        _ note: AuditNote
    ) async throws -> JSON {
        try await postgres.answer(
            "select dispatch.put_template($1, $2, $3, $4::jsonb, $5, $6, $7) as answer",
            [
                .uuid(tenant.id), .string(code), PostgresValue(template.text),
                template.blocks.map { .json($0.text) } ?? .null, .strings(template.variables),
                .string(note.actor), .string(note.requestID),
            ]
        )
    }

    /// A version, the newest unless one is named; nil when there is none.
    func find(_ tenant: Tenant, _ code: String, version: Int? = nil) async throws -> JSON? {
        let rows = try await postgres.read(
            """
            select dispatch.template_json(t) as answer from dispatch.templates t
             where t.tenant_id = $1 and t.code = $2 and ($3::int is null or t.version = $3)
             order by t.version desc limit 1
            """,
            [.uuid(tenant.id), .string(code), PostgresValue(version)]
        )
        return try rows.first.map { try JSON(stored: $0) }
    }
}

extension PostgresClient {
    /// The document in the one row and the column `answer` of a statement.
    func answer(
        _ sql: String,
        _ parameters: [PostgresValue],
        idempotent: Bool = false
    ) async throws -> JSON {
        try JSON(stored: try await query(sql, parameters, idempotent: idempotent).one())
    }
}
