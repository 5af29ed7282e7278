public import Coordination
public import EventLoop
internal import FoundationEssentials
internal import JSON
public import PostgresClient

/// Seals anew, under the newest key of `SECRETS_KEY`, what an older one has sealed: afterwards the
/// older one can be left out.
///
/// Services may run meanwhile, as long as they know both keys. Safe to repeat, and to end half-way.
@LoopActor
public struct SecretRotation {
    /// What was found.
    public struct Report: Sendable, Hashable {
        /// Sealed anew.
        public var rotated = 0
        /// Sealed with the newest key already, or written by somebody else at this moment.
        public var current = 0
        /// What no key of the list opens: tenant, kind and reference.
        public var closed: [String] = []
    }

    /// How many are read at once.
    static let pageSize = 200

    private let postgres: PostgresClient
    private let box: SecretBox

    /// Works in the database of `postgres` with the keys of `box`.
    public init(_ postgres: PostgresClient, _ box: SecretBox) {
        self.postgres = postgres
        self.box = box
    }

    private struct Row {
        let tenant: UUID
        let code: String
        let kind: String
        let ref: String
        let sealed: SealedSecret

        init(_ row: PostgresRow) throws {
            tenant = try row.uuid("tenant_id")
            code = try row.string("code")
            kind = try row.string("kind")
            ref = try row.string("ref")
            sealed = SealedSecret(
                keyID: try row.string("key_id"),
                bytes: try row.bytes("sealed")
            )
        }

        /// The places that secrets are bound to: some by the tenant's code, some by its id.
        var contexts: [String] { [code, tenant.text].map { "\($0)|\(kind)|\(ref)" } }
    }

    /// Goes through all secrets of all tenants.
    ///
    /// - Throws: `PostgresError`; what is done until then stays.
    public func run() async throws -> Report {
        var report = Report()
        var last: Row?
        while true {
            let rows = try await page(after: last)
            for row in rows { try await rotate(row, &report) }
            guard rows.count == SecretRotation.pageSize else { return report }
            last = rows.last
        }
    }

    private func page(after last: Row?) async throws -> [Row] {
        try await postgres.query(
            """
            select s.tenant_id, t.code, s.kind, s.ref, s.key_id, s.sealed
            from platform.secrets s join platform.tenants t on t.id = s.tenant_id
            where $1::uuid is null or (s.tenant_id, s.kind, s.ref) > ($1, $2, $3)
            order by s.tenant_id, s.kind, s.ref limit $4
            """,
            [
                PostgresValue(last?.tenant), PostgresValue(last?.kind), PostgresValue(last?.ref),
                .int(SecretRotation.pageSize),
            ],
            idempotent: true
        ).map { try Row($0) }
    }

    private func rotate(_ row: Row, _ report: inout Report) async throws {
        guard !box.isCurrent(row.sealed) else {
            report.current += 1
            return
        }
        guard let (secret, context) = opened(row) else {
            report.closed.append("\(row.code) \(row.kind) \(row.ref)")
            return
        }
        let anew = try box.seal(secret, context: context)
        // What was written since is sealed by its writer.
        let changed = try await postgres.query(
            """
            update platform.secrets set key_id = $4, sealed = $5
            where tenant_id = $1 and kind = $2 and ref = $3 and sealed = $6 returning kind
            """,
            [
                .uuid(row.tenant), .string(row.kind), .string(row.ref), .string(anew.keyID),
                .bytes(anew.bytes), .bytes(row.sealed.bytes),
            ],
            idempotent: true
        )
        if changed.isEmpty { report.current += 1 } else { report.rotated += 1 }
    }

    private func opened(_ row: Row) -> (secret: Secret, context: String)? {
        for context in row.contexts {
            if let secret = try? box.open(row.sealed, context: context) { return (secret, context) }
        }
        return nil
    }
}
