internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// What a report counts.
enum ReportKind: String, Sendable, CaseIterable {
    case assignments, queue, dispatch, events

    /// The events that it counts; nil: all of its source.
    var names: [String]? {
        switch self {
        case .assignments:
            ["session.assigned", "session.offered", "session.requeued", "session.closed"]
        case .queue: ["session.queued", "session.requeued", "session.assigned"]
        case .dispatch:
            [
                "accepted", "dispatched", "sent", "retrying", "unknown", "failed", "cancelled",
                "expired",
            ]
            .map { "message_request.\($0)" }
        case .events: nil
        }
    }

    var source: String { self == .events ? "analytics" : "switchboard" }
}

/// How wide a bucket is.
enum ReportInterval: String, Sendable, CaseIterable {
    case minute, hour

    /// The longest span of one report, in milliseconds: about 1,500 buckets.
    var spanLimit: Int64 { self == .minute ? 86_400_000 : 62 * 86_400_000 }
}

/// A count of one name in one bucket.
struct ReportCount: Sendable {
    /// RFC 3339, the bucket's beginning.
    let bucket: String
    let name: String
    let count: Int64
}

/// Reads what the processor counted.
@LoopActor
struct Reports {
    /// Rows that one report has at most.
    static let rowsLimit = 20_000

    let postgres: PostgresClient

    /// Counts from `from` up to, and not with, `to`; milliseconds since 1970.
    func read(
        _ tenant: Tenant,
        _ kind: ReportKind,
        _ interval: ReportInterval,
        from: Int64,
        to: Int64
    ) async throws -> [ReportCount] {
        let rows = try await postgres.query(
            """
            select platform.rfc3339(bucket) as bucket, name, count from assignment.event_counts
            where tenant_id = $1 and grain = $2 and source = $3
              and ($4::text[] is null or name = any ($4)) and bucket >= $5 and bucket < $6
            order by bucket, name limit $7
            """,
            [
                .uuid(tenant.id), .string(interval.rawValue), .string(kind.source),
                kind.names.map { .strings($0) } ?? .null, .time(milliseconds: from),
                .time(milliseconds: to), .int(Reports.rowsLimit),
            ]
        )
        return try rows.map { row in
            ReportCount(
                bucket: try row.string("bucket"),
                name: try row.string("name"),
                count: try row.int64("count")
            )
        }
    }

    /// The database's clock, milliseconds since 1970.
    func now() async throws -> Int64 {
        try await postgres.read("select now() as now", []).one().timeMilliseconds("now")
    }

    /// The counts, a bucket an item.
    nonisolated static func items(_ counts: [ReportCount]) -> JSON {
        var items: [JSON] = []
        var current: (bucket: String, counts: JSONObject)?
        func close() {
            guard let current else { return }
            items.append(["at": .string(current.bucket), "counts": .object(current.counts)])
        }
        for row in counts {
            if current?.bucket != row.bucket {
                close()
                current = (row.bucket, [:])
            }
            current?.counts[row.name] = .int(row.count)
        }
        close()
        return .array(items)
    }

    /// The counts as RFC 4180 has them; names need no quotes, they are codes.
    nonisolated static func csv(_ counts: [ReportCount]) -> String {
        "at,name,count\r\n" + counts.map { "\($0.bucket),\($0.name),\($0.count)\r\n" }.joined()
    }
}
