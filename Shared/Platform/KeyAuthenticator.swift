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

    private final class Known {
        let digest: [UInt8]
        let principal: Principal
        let readAt: MonotonicTime
        var isForgotten = false

        init(digest: [UInt8], principal: Principal, readAt: MonotonicTime) {
            self.digest = digest
            self.principal = principal
            self.readAt = readAt
        }
    }

    private struct Tenant {
        let id: UUID
        let readAt: MonotonicTime
    }

    private let postgres: PostgresClient
    private let serviceDigest: [UInt8]
    private let name: String
    private var keys: [String: Known] = [:]
    private var recognized = RecognizedFields<Known>()
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
        keys.removeValue(forKey: keyID)?.isForgotten = true
        onForget?(keyID)
    }

    /// Looks every key up before it is believed again: called when news of keys may have been missed.
    ///
    /// What is remembered still serves while the database is away.
    public func doubtAll() {
        doubtedAt = EventLoop.shared.now
    }

    /// The one whose key came in the very same field a moment ago.
    public func recognize(_ request: Request) -> Principal? {
        guard let field = request.fieldBytes(of: "Authorization"),
            let known = recognized.known(field), isFresh(known)
        else { return nil }
        return known.principal
    }

    /// The one who sent `request`.
    public func authenticate(_ request: Request) async throws -> Principal {
        guard let field = request.fieldBytes(of: "Authorization"),
            let token = KeyAuthenticator.bearer(field)
        else { throw Problem.unauthorized() }
        if let key = ApiKey(parsing: token) {
            let known = try check(key, try await known(key.keyID))
            recognized.learn(field, known)
            return known.principal
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

    private func check(_ key: ApiKey, _ known: Known?) throws -> Known {
        // The comparison is done for unknown ids too, so that time says nothing.
        let expected = known?.digest ?? [UInt8](repeating: 0, count: 32)
        guard constantTimeEquals(key.digest, expected), let known else {
            throw Problem.unauthorized()
        }
        return known
    }

    /// Whether a key is believed without looking.
    private func isFresh(_ known: Known) -> Bool {
        !known.isForgotten && known.readAt > doubtedAt
            && EventLoop.shared.now - known.readAt < KeyAuthenticator.freshFor
    }

    private func known(_ keyID: String) async throws -> Known? {
        if let known = keys[keyID], isFresh(known) { return known }
        return try await looked(keyID)
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
                keys.removeValue(forKey: keyID)?.isForgotten = true
                return nil
            }
            let principal = Principal(
                tenant: try row.string("code"),
                tenantID: try row.uuid("id"),
                role: role,
                keyID: keyID
            )
            if keys.count >= KeyAuthenticator.cacheLimit {
                keys.removeAll()
                recognized = RecognizedFields()
            }
            let fresh = Known(
                digest: try row.bytes("secret_sha256"),
                principal: principal,
                readAt: now
            )
            // Another one may have been read meanwhile.
            keys.updateValue(fresh, forKey: keyID)?.isForgotten = true
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
