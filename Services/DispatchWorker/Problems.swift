internal import HTTPServer

extension Problem {
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
