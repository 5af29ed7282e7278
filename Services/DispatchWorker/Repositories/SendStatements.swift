internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// The statements of every attempt, each for all messages that are at that point.
@LoopActor
final class SendStatements {
    /// A request to be looked up.
    struct Lookup: Sendable {
        let tenant: UUID
        let id: UUID
        let content: Bool
    }

    /// What is to be recorded of an attempt.
    enum Step: Sendable {
        /// It wants to begin, and goes there.
        case begin(MessageReference, token: UUID, target: JSON)
        /// It has ended.
        case finish(MessageReference, token: UUID, SendRepository.Ending)

        /// As `dispatch.step_sends` reads it.
        var json: JSON {
            switch self {
            case .begin(let job, let token, let target):
                [
                    "tenant_id": .string(job.tenantID.text),
                    "id": .string(job.messageRequestID.text), "token": .string(token.text),
                    "generation": .int(Int64(job.generation)), "target": target,
                ]
            case .finish(let job, let token, let ending):
                [
                    "tenant_id": .string(job.tenantID.text),
                    "id": .string(job.messageRequestID.text), "token": .string(token.text),
                    "status": .string(ending.status), "provider_ts": JSON(ending.providerTS),
                    "error": JSON(ending.error), "http_status": JSON(ending.httpStatus),
                    "retry_after_ms": JSON(ending.retryAfter?.milliseconds),
                    "wait_ms": JSON(ending.wait?.milliseconds), "counts": .bool(ending.counts),
                    "took_ms": .double(ending.took.inSeconds * 1000),
                ]
            }
        }
    }

    /// A request that cannot be sent now.
    struct Postponing: Sendable {
        let job: MessageReference
        let wait: Duration
        let reason: String?
        let kind: SendRepository.Postponement?

        /// As `dispatch.postpone_many` reads it.
        var json: JSON {
            [
                "tenant_id": .string(job.tenantID.text), "id": .string(job.messageRequestID.text),
                "generation": .int(Int64(job.generation)),
                "wait_ms": .int(max(1, wait.milliseconds)), "reason": JSON(reason),
                "kind": JSON(kind?.rawValue),
            ]
        }
    }

    let resolving: GroupedStatement<Lookup, RequestState?>
    /// Beginnings and ends together: the disk is waited for once.
    let stepping: GroupedStatement<Step, JSON>
    /// Answers for how long; nil when the request is not waiting any more.
    let postponing: GroupedStatement<Postponing, Duration?>

    init(_ postgres: PostgresClient, lease: Duration) {
        resolving = GroupedStatement { lookups in
            try await postgres.read(
                "select * from dispatch.resolve_many($1::uuid[], $2::uuid[], $3::bool[])",
                [
                    .uuids(lookups.map(\.tenant)), .uuids(lookups.map(\.id)),
                    .array(lookups.map { .bool($0.content) }),
                ]
            ).enumerated().map { try RequestState($1, hasContent: lookups[$0].content) }
        }
        stepping = GroupedStatement { steps in
            try await postgres.query(
                """
                select answer from dispatch.step_sends($1::jsonb, $2 * interval '1 ms')
                 order by place
                """,
                [.json(JSON.array(steps.map(\.json)).text), .int(lease.milliseconds)]
            ).map { try JSON(stored: $0) }
        }
        postponing = GroupedStatement { requests in
            try await postgres.query(
                """
                select wait_ms from dispatch.postpone_many($1::jsonb, $2 * interval '1 ms')
                 order by place
                """,
                [
                    .json(JSON.array(requests.map(\.json)).text),
                    .int(SendRepository.parkedWait.milliseconds),
                ],
                idempotent: true
            ).map { row in
                try row.isNull("wait_ms") ? nil : .milliseconds(try row.int64("wait_ms"))
            }
        }
    }
}
