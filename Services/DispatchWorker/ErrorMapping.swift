internal import Coordination
internal import EventLoop
internal import HTTPServer
internal import Platform

/// What callers see of errors: the only place where they become problems.
enum ErrorMapping {
    /// A handler whose errors become problems.
    static func mapped(_ handler: @escaping Route.Handler) -> Route.Handler {
        { request in
            do {
                return try await handler(request)
            } catch {
                throw problem(error)
            }
        }
    }

    private static func problem(_ error: any Error) -> any Error {
        if let error = error as? CoordinationError {
            return Problem.unavailable("\(error.operation) is not to be had")
        }
        return CommonErrors.problem(error)
    }
}

extension Problem {
    /// The key was used for something else.
    static let idempotencyKeyReused = Problem(
        status: 422,
        code: "idempotency_key_reused",
        detail: "the key was used for a request with another body"
    )

    /// The first request with the key has not ended.
    static var idempotencyInProgress: Problem {
        var problem = Problem.conflict(
            "idempotency_in_progress",
            "the first request with this key still runs"
        )
        problem.retryAfterMilliseconds = 1000
        problem.retryable = true
        return problem
    }

    /// As many messages wait as the tenant's policy allows.
    static var tenantBacklog: Problem {
        var problem = Problem(
            status: 429,
            code: "tenant_backlog",
            detail: "as many messages wait as may; some have to be sent first"
        )
        problem.retryAfterMilliseconds = 5000
        problem.retryable = true
        return problem
    }
}
