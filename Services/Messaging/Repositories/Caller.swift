internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient
internal import Tracing

/// On whose behalf something is done: a tenant, and what the audit keeps of who did it.
struct Caller: Sendable {
    private let of: Tenant
    private let note: AuditNote
    /// Where the request has its place, for the log; nil where no request asked.
    let trace: TraceParent?

    init(_ tenant: Tenant, _ note: AuditNote, trace: TraceParent? = nil) {
        of = tenant
        self.note = note
        self.trace = trace
    }

    /// Something that no request asked for.
    init(tenant: UUID, code: String, actor: String, requestID: String) {
        self.init(
            Tenant(id: tenant, code: code),
            AuditNote(actor: actor, reason: nil, requestID: requestID)
        )
    }

    /// The tenant's id.
    var tenant: UUID { of.id }
    /// The tenant's code.
    var code: String { of.code }
    /// Who it was, for the audit.
    var actor: String { note.actor }
    /// The request, for the audit.
    var requestID: String { note.requestID }
}

extension Request {
    /// The tenant that the key, or the calling service, stands for.
    func caller() throws -> Caller {
        Caller(try Tenant(self), AuditNote(self), trace: context.traceparent)
    }
}

/// What a function of the schema answers: what became of it, and the document for the caller.
struct Outcome: Sendable {
    /// The outcome's name, as the function's comment lists it.
    let name: String
    /// The document, as JSON text.
    let answer: [UInt8]
    /// What a new message means for the bot, as JSON text.
    var bot: [UInt8]?

    init(_ row: PostgresRow) throws(PostgresError) {
        name = try row.string("outcome")
        answer = try row.optionalUTF8("answer") ?? Array("null".utf8)
    }

    /// The same with the column `bot` of `post_batch`.
    init(posted row: PostgresRow) throws(PostgresError) {
        try self.init(row)
        bot = try row.optionalUTF8("bot")
    }
}
