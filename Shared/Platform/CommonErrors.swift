internal import HTTPServer
internal import JSON
internal import PostgresClient

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
