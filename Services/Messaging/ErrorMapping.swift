internal import EventLoop
internal import HTTPClient
internal import HTTPServer
internal import JSON
internal import PostgresClient

/// Turns what the lower layers throw into problems that a caller can act on.
enum ErrorMapping {
    /// Runs a handler with its failures translated.
    ///
    /// What stays untranslated is a fault of ours: 500.
    @LoopActor
    static func translating(_ handler: @escaping Route.Handler) -> Route.Handler {
        { request in
            do {
                return try await handler(request)
            } catch {
                throw problem(error) ?? error
            }
        }
    }

    /// The problem that an error is to a caller; `nil` for a fault of ours.
    static func problem(_ error: any Error) -> Problem? {
        switch error {
        case let problem as Problem: problem
        case let error as JSONFieldErrors:
            .invalid(error.faults.map { Problem.Fault(pointer: $0.pointer, detail: $0.detail) })
        case let error as JSONError:
            .badRequest(
                "the body is not JSON: \(error.message) at byte \(error.offset)",
                code: "invalid_json"
            )
        case let error as PostgresError where error.isUnavailable:
            .unavailable("the database is away")
        default: nil
        }
    }

    /// A callee that gave no answer, or one that says it cannot now.
    static func unreachable(_ service: String, _ error: HTTPClientError) -> Problem {
        .unavailable("\(service) gave no answer: \(error.code)")
    }
}

extension Problem {
    /// Nobody but its contact opens a conversation again.
    static let conversationClosed = Problem.conflict(
        "conversation_closed",
        "the conversation is closed"
    )
}

extension Request {
    /// The body, read strictly as an object; no body is an empty one.
    func fields<Value>(_ read: (inout JSONFields) -> Value) throws -> Value {
        try JSONFields.read(body.isEmpty ? [:] : try JSON(parsing: body), read)
    }
}
