internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import PostgresClient

/// On whose behalf something is done.
struct Caller: Sendable {
    /// The tenant's id.
    let tenant: UUID
    /// The tenant's code.
    let code: String
    /// Who it was, for the audit.
    let actor: String
    /// The request, for the audit.
    let requestID: String
}

extension Request {
    /// The tenant that the key, or the calling service, stands for.
    func caller() throws -> Caller {
        let principal = try context.requirePrincipal()
        guard let tenant = principal.tenantID else { throw Problem.unauthorized() }
        return Caller(
            tenant: tenant,
            code: principal.tenant,
            actor: principal.keyID,
            requestID: context.requestID
        )
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

    /// The same with the column `bot` of `post_message`.
    init(posted row: PostgresRow) throws(PostgresError) {
        try self.init(row)
        bot = try row.optionalUTF8("bot")
    }
}
