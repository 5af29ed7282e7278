public import Coordination
public import EventLoop
internal import FoundationEssentials
public import HTTPServer
public import PostgresClient

/// Finds out who asks: a tenant's key, or another of our services.
///
/// Keys are looked up in `platform.api_keys` and kept for ``freshFor``; while PostgreSQL is away a
/// known key goes on working for ``staleFor``. An unknown key id costs the same work as a known one.
@LoopActor
public final class KeyAuthenticator: Authenticator {
    /// How long a key is believed without looking.
    public static let freshFor: Duration = .seconds(5)
    /// How long it is believed while the database is away.
    public static let staleFor: Duration = .seconds(600)
    /// How many keys are remembered; above it the cache starts anew.
    public static let cacheLimit = 10_000
    /// The field in which a service names the tenant it acts for.
    public static let tenantField = "Switchboard-Tenant"

    private struct Known {
        let digest: [UInt8]
        let principal: Principal
        let readAt: MonotonicTime
    }

    private struct Tenant {
        let id: UUID
        let readAt: MonotonicTime
    }

    private let postgres: PostgresClient
    private let serviceDigest: [UInt8]
    private let name: String
    private var keys: [String: Known] = [:]
    private var doubtedAt = MonotonicTime(nanoseconds: 0)
    private var tenants: [String: Tenant] = [:]

    /// - Parameter service: this service's name, which the audit shows for calls between services.
    public init(postgres: PostgresClient, serviceToken: Secret, service: String) {
        self.postgres = postgres
        serviceDigest = ApiKey.digest(serviceToken)
        name = service
    }

    /// Called with the id of each key that is revoked, as far as this process hears of it.
    public var onForget: (@LoopActor (String) -> Void)?

    /// Drops what is remembered of a key: called when one is revoked.
    public func forget(keyID: String) {
        keys[keyID] = nil
        onForget?(keyID)
    }

    /// Looks every key up before it is believed again: called when news of keys may have been missed.
    ///
    /// What is remembered still serves while the database is away.
    public func doubtAll() {
        doubtedAt = EventLoop.shared.now
    }

    /// The one who sent `request`.
    public func authenticate(_ request: Request) async throws -> Principal {
        guard let field = request.fields.valueBytes(of: "Authorization"),
            let token = KeyAuthenticator.bearer(field)
        else { throw Problem.unauthorized() }
        if let key = ApiKey(parsing: token) {
            // Nothing is waited for where nothing has to be looked up.
            if let known = fresh(key.keyID) { return try principal(key, known) }
            return try await tenantKey(key)
        }
        guard constantTimeEquals(ApiKey.digest(Secret(token)), serviceDigest) else {
            throw Problem.unauthorized()
        }
        return try await service(for: request)
    }

    /// What follows `Bearer `, in whose letters case does not count (RFC 9110 section 11.1).
    private static func bearer(_ field: ArraySlice<UInt8>) -> String? {
        let scheme = "bearer ".utf8
        // Setting the bit of lower case leaves a space what it is.
        guard field.count > scheme.count, zip(field, scheme).allSatisfy({ $0 | 0x20 == $1 })
        else { return nil }
        return String(decoding: field.dropFirst(scheme.count), as: UTF8.self)
    }

    private func tenantKey(_ key: ApiKey) async throws -> Principal {
        try principal(key, try await looked(key.keyID))
    }

    private func principal(_ key: ApiKey, _ known: Known?) throws -> Principal {
        // The comparison is done for unknown ids too, so that time says nothing.
        let expected = known?.digest ?? [UInt8](repeating: 0, count: 32)
        guard constantTimeEquals(key.digest, expected), let known else {
            throw Problem.unauthorized()
        }
        return known.principal
    }

    /// A key that is believed without looking.
    private func fresh(_ keyID: String) -> Known? {
        guard let known = keys[keyID], known.readAt > doubtedAt,
            EventLoop.shared.now - known.readAt < KeyAuthenticator.freshFor
        else { return nil }
        return known
    }

    private func looked(_ keyID: String) async throws -> Known? {
        let now = EventLoop.shared.now
        let cached = keys[keyID]
        do {
            let rows = try await postgres.read(
                """
                select k.secret_sha256, k.role, t.code, t.id from platform.api_keys k
                join platform.tenants t on t.id = k.tenant_id
                where k.key_id = $1 and k.revoked_at is null
                """,
                [.string(keyID)]
            )
            guard let row = rows.first, let role = Role(try row.string("role")) else {
                keys[keyID] = nil
                return nil
            }
            let principal = Principal(
                tenant: try row.string("code"),
                tenantID: try row.uuid("id"),
                role: role,
                keyID: keyID
            )
            if keys.count >= KeyAuthenticator.cacheLimit { keys.removeAll() }
            let fresh = Known(
                digest: try row.bytes("secret_sha256"),
                principal: principal,
                readAt: now
            )
            keys[keyID] = fresh
            return fresh
        } catch {
            guard error.isUnavailable else { throw error }
            if let cached, now - cached.readAt < KeyAuthenticator.staleFor { return cached }
            throw Problem.unavailable("keys cannot be checked at the moment")
        }
    }

    private func service(for request: Request) async throws -> Principal {
        guard let code = request.fields[KeyAuthenticator.tenantField] else {
            throw Problem.badRequest(
                "a service must name the tenant in \(KeyAuthenticator.tenantField)"
            )
        }
        let id = try await tenantID(code)
        return Principal(
            tenant: code,
            tenantID: id,
            role: nil,
            keyID: "service:\(name)",
            isService: true
        )
    }

    private func tenantID(_ code: String) async throws -> UUID {
        let now = EventLoop.shared.now
        if let cached = tenants[code], now - cached.readAt < KeyAuthenticator.staleFor {
            return cached.id
        }
        let rows = try await postgres.read(
            "select id from platform.tenants where code = $1",
            [.string(code)]
        )
        guard let row = rows.first else { throw Problem.notFound }
        if tenants.count >= KeyAuthenticator.cacheLimit { tenants.removeAll() }
        let id = try row.uuid("id")
        tenants[code] = Tenant(id: id, readAt: now)
        return id
    }
}
