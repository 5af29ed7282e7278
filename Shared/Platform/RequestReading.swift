public import FoundationEssentials
public import HTTPServer
public import JSON
public import PostgresClient

/// The tenant that a request is made for.
public struct Tenant: Sendable, Hashable {
    /// The tenant's id.
    public let id: UUID
    /// The tenant's code.
    public let code: String

    /// A tenant.
    public init(id: UUID, code: String) {
        self.id = id
        self.code = code
    }

    /// The tenant of the request's key; never taken from the path or the body.
    public init(_ request: Request) throws(Problem) {
        let principal = try request.context.requirePrincipal()
        guard let id = principal.tenantID else { throw .unauthorized() }
        self.init(id: id, code: principal.tenant)
    }
}

/// Who did something, and why: kept with the change.
public struct AuditNote: Sendable {
    /// The id of the key that was used, or the service.
    public let actor: String
    /// The caller's reason, where one is asked for.
    public let reason: String?
    /// The request's id.
    public let requestID: String

    /// What a request leaves in the audit.
    public init(_ request: Request, reason: String? = nil) {
        self.init(
            actor: request.context.principal?.keyID ?? "unknown",
            reason: reason,
            requestID: request.context.requestID
        )
    }

    /// What is left by something that is no request.
    public init(actor: String, reason: String?, requestID: String) {
        self.actor = actor
        self.reason = reason
        self.requestID = requestID
    }
}

extension Request {
    /// The id in the path; anything but a UUID names nothing.
    public func id(_ name: String = "id") throws(Problem) -> UUID {
        guard let id = UUID(text: parameters[name]) else { throw .notFound }
        return id
    }

    /// Reads the body as an object with exactly the members that `body` asks for.
    ///
    /// - Throws: `JSONError` when it is not JSON, `JSONFieldErrors` naming every fault.
    public func read<Value>(_ body: (inout JSONFields) -> Value) throws -> Value {
        try JSONFields.read(try JSON(parsing: self.body), body)
    }

    /// The same, where no body means an empty object.
    public func readOptional<Value>(_ body: (inout JSONFields) -> Value) throws -> Value {
        try JSONFields.read(self.body.isEmpty ? [:] : try JSON(parsing: self.body), body)
    }
}

/// What callers see of the errors that every service knows.
public enum CommonErrors {
    /// The problem for an error of a handler; the error itself when it is none of the common ones.
    public static func problem(_ error: any Error) -> any Error {
        if let error = error as? PostgresError, error.isUnavailable {
            return Problem.unavailable("the database is away")
        }
        if let error = error as? JSONFieldErrors {
            return Problem.invalid(
                error.faults.map { .init(pointer: $0.pointer, detail: $0.detail) }
            )
        }
        if let error = error as? JSONError {
            return Problem.badRequest("the body is not JSON: \(error)", code: "invalid_json")
        }
        return error
    }
}

/// A page of a list: one element more than asked for tells that there is another page.
public enum Page {
    /// The page size when none is asked for.
    public static let limitDefault = 50
    /// What may be asked for.
    public static let limits = 1...200

    /// The query parameters of a list.
    public static let parameters = [
        QueryParameter(
            "limit",
            "How many to answer, 1 to 200.",
            schema: ["type": "integer", "minimum": 1, "maximum": 200]
        ),
        QueryParameter("cursor", "The `next_cursor` of the page before."),
    ]

    /// The limit and the id after which the page begins.
    public static func read(_ request: Request) throws(Problem) -> (limit: Int, after: UUID?) {
        let limit = try request.query.int("limit", in: limits) ?? limitDefault
        guard let cursor = request.query["cursor"] else { return (limit, nil) }
        guard let id = UUID(text: cursor) else {
            throw Problem.invalid("/query/cursor", "is not a cursor of this list")
        }
        return (limit, id)
    }

    /// The answer to a list that was read with one element more than `limit`.
    public static func answer(_ items: [JSON], limit: Int) -> Response {
        let page = Array(items.prefix(limit))
        let next = items.count > limit ? page.last?["id"]?.stringValue : nil
        return .json(200, ["items": .array(page), "next_cursor": JSON(next)])
    }
}

/// A database function answered something that it never should.
public struct UnexpectedAnswer: Error, Sendable {
    /// The function's name.
    public let function: String

    /// An odd answer of `function`.
    public init(function: String) {
        self.function = function
    }
}

extension JSON {
    /// The document in the column `answer` of a row; null when there is none.
    public init(stored row: PostgresRow) throws {
        self =
            try row.isNull("answer")
            ? .null : JSON(parsing: Array(try row.json("answer").utf8), limits: .foreign)
    }
}
