public import EventLoop
public import FoundationEssentials

/// What a key may do; each role includes the ones before it.
public enum Role: Int, Sendable, Hashable, Comparable, CaseIterable, CustomStringConvertible {
    case viewer, agent, `operator`, admin

    /// Orders roles by what they may do.
    public static func < (left: Role, right: Role) -> Bool { left.rawValue < right.rawValue }

    /// The role's name.
    public var description: String {
        switch self {
        case .viewer: "viewer"
        case .agent: "agent"
        case .operator: "operator"
        case .admin: "admin"
        }
    }

    /// The role called `name`.
    public init?(_ name: String) {
        guard let role = Role.allCases.first(where: { $0.description == name }) else { return nil }
        self = role
    }
}

/// Who asks: a key of a tenant, or another of our services on behalf of one.
public struct Principal: Sendable, Hashable {
    /// The tenant's code.
    public let tenant: String
    /// The tenant's id; nil where the authenticator does not know it.
    public let tenantID: UUID?
    /// What the key may do; nil for a service.
    public let role: Role?
    /// The public part of the key, for the audit.
    public let keyID: String
    /// Whether one of our services asks.
    public let isService: Bool

    /// A principal.
    public init(
        tenant: String,
        tenantID: UUID? = nil,
        role: Role?,
        keyID: String,
        isService: Bool = false
    ) {
        self.tenant = tenant
        self.tenantID = tenantID
        self.role = role
        self.keyID = keyID
        self.isService = isService
    }
}

/// Finds out who asks, from a bearer key or a service token.
@LoopActor
public protocol Authenticator: Sendable {
    /// The one who sent `request`.
    ///
    /// - Throws: `Problem.unauthorized` for a missing or wrong key; whatever else is thrown is a 500,
    ///   or the `Problem` that it is.
    func authenticate(_ request: Request) async throws -> Principal

    /// The one who sent `request`, where that is known and nothing has to be waited for.
    func recognize(_ request: Request) -> Principal?
}

extension Authenticator {
    /// Nobody: everyone is looked up.
    public func recognize(_ request: Request) -> Principal? { nil }
}
