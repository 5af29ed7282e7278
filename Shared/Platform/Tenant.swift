public import FoundationEssentials
public import HTTPServer

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
