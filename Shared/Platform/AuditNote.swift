public import HTTPServer

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
