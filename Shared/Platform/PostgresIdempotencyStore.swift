public import EventLoop
internal import FaultPoints
public import HTTPServer
internal import JSON
public import PostgresClient

/// Keeps answers by idempotency key in `platform.idempotency`, for 24 hours.
///
/// The claim is committed with a lease before the handler runs: a request whose process died is
/// driven again by its repeat once the lease is over, with the same key for whatever it calls.
@LoopActor
public final class PostgresIdempotencyStore: IdempotencyStore {
    /// How long a claim holds unless set otherwise; longer than any handler may run.
    public nonisolated static let leaseMilliseconds: Int64 = 35_000

    private let postgres: PostgresClient
    private let lease: Duration

    /// A store in `postgres` whose claims hold for `lease`.
    public init(_ postgres: PostgresClient, lease: Duration) {
        self.postgres = postgres
        self.lease = lease
    }

    /// Claims the key, or says what became of it.
    public func begin(_ request: IdempotentRequest) async throws -> IdempotencyBegin {
        let row = try await unavailable {
            try await postgres.query(
                """
                select state, status, content_type, body from platform.idempotency_begin(
                  $1, $2, $3, $4, $5, $6 * interval '1 ms')
                """,
                place(of: request) + [
                    .bytes(request.bodyHash), .int(lease.milliseconds),
                ]
            ).one()
        }
        switch try row.string("state") {
        case "started":
            try await FaultPoints.reached("idempotency.claimed")
            return .started
        case "reused": return .reused
        case "in_progress": return .inProgress
        default:
            return .replay(
                StoredResponse(
                    status: try row.int("status"),
                    contentType: try row.optionalString("content_type"),
                    body: try row.optionalBytes("body") ?? []
                )
            )
        }
    }

    /// Keeps the answer.
    public func finish(_ request: IdempotentRequest, _ response: StoredResponse) async throws {
        _ = try await unavailable {
            try await postgres.query(
                "select platform.idempotency_finish($1, $2, $3, $4, null, $5, $6, $7)",
                place(of: request) + [
                    .int(Int64(response.status)), PostgresValue(response.contentType),
                    .bytes(response.body),
                ],
                idempotent: true
            )
        }
        try await FaultPoints.reached("idempotency.kept")
    }

    /// Lets the key go; should even that fail, its lease does.
    public func abandon(_ request: IdempotentRequest) async {
        _ = try? await postgres.query(
            "select platform.idempotency_abandon($1, $2, $3, $4)",
            place(of: request),
            idempotent: true
        )
    }

    private func place(of request: IdempotentRequest) -> [PostgresValue] {
        [
            PostgresValue(request.tenantID), .string(request.key), .string(request.method),
            .string(request.path),
        ]
    }

    /// A database that is away is a 503, not a fault of ours.
    private func unavailable<Value: Sendable>(
        _ call: @LoopActor () async throws -> Value
    ) async throws -> Value {
        do {
            return try await call()
        } catch let error as PostgresError where error.isUnavailable {
            throw Problem.unavailable("the database is away")
        }
    }
}
