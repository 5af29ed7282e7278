internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// The three statements of every attempt, each for all messages that are at that point.
@LoopActor
final class SendStatements {
    /// A request to be looked up.
    struct Lookup: Sendable {
        let tenant: UUID
        let id: UUID
        let content: Bool
    }

    /// An attempt that wants to begin.
    struct Start: Sendable {
        let job: MessageReference
        let token: UUID
    }

    /// An attempt that has ended.
    struct Finish: Sendable {
        let job: MessageReference
        let token: UUID
        let ending: SendRepository.Ending

        /// As `dispatch.finish_sends` reads it.
        var json: JSON {
            [
                "tenant_id": .string(job.tenantID.text), "id": .string(job.messageRequestID.text),
                "token": .string(token.text), "status": .string(ending.status),
                "provider_ts": JSON(ending.providerTS), "error": JSON(ending.error),
                "http_status": JSON(ending.httpStatus),
                "retry_after_ms": JSON(ending.retryAfter?.milliseconds),
                "wait_ms": JSON(ending.wait?.milliseconds), "counts": .bool(ending.counts),
                "took_ms": .double(ending.took.inSeconds * 1000),
            ]
        }
    }

    let resolving: GroupedStatement<Lookup, JSON>
    let beginning: GroupedStatement<Start, JSON>
    let finishing: GroupedStatement<Finish, JSON>

    init(_ postgres: PostgresClient, lease: Duration) {
        resolving = GroupedStatement { lookups in
            try await postgres.read(
                "select answer from dispatch.resolve_many($1::uuid[], $2::uuid[], $3::bool[])",
                [
                    .uuids(lookups.map(\.tenant)), .uuids(lookups.map(\.id)),
                    .array(lookups.map { .bool($0.content) }),
                ]
            ).map { try JSON(stored: $0) }
        }
        beginning = GroupedStatement { starts in
            try await postgres.query(
                """
                select answer from dispatch.begin_sends($1::uuid[], $2::uuid[], $3::int[],
                  $4::uuid[], $5 * interval '1 ms') order by place
                """,
                [
                    .uuids(starts.map(\.job.tenantID)), .uuids(starts.map(\.job.messageRequestID)),
                    .ints(starts.map { Int64($0.job.generation) }),
                    .uuids(starts.map(\.token)), .int(lease.milliseconds),
                ]
            ).map { try JSON(stored: $0) }
        }
        finishing = GroupedStatement { finishes in
            try await postgres.query(
                "select answer from dispatch.finish_sends($1::jsonb) order by place",
                [.json(JSON.array(finishes.map(\.json)).text)]
            ).map { try JSON(stored: $0) }
        }
    }
}
