import EventLoop
import PostgresClient
import Testing

@testable import messaging

/// When a bot answers, as the database decides it.
@Suite("Hours of a bot", .serialized, .needsPostgres)
struct BotHoursTests {
    private static let office =
        #"{"tz": "Europe/Berlin", "windows": [{"day": "mon", "from": "09:00", "to": "17:00"}]}"#
    private static let night =
        #"{"tz": "Europe/Berlin", "windows": [{"day": "sun", "from": "22:00", "to": "06:00"}]}"#

    private struct Case {
        let hours: String?
        var isActive = true
        var pausedUntil: String?
        let at: String
        let answers: Bool

        var description: String { "\(at) \(hours ?? "always") \(pausedUntil ?? "")" }
    }

    private static let cases = [
        Case(hours: nil, at: "2026-11-27T03:00:00Z", answers: true),
        Case(hours: nil, isActive: false, at: "2026-11-27T03:00:00Z", answers: false),
        // A pause ends with the instant that it names.
        Case(
            hours: nil,
            pausedUntil: "2026-11-27T03:00:01Z",
            at: "2026-11-27T03:00:00Z",
            answers: false
        ),
        Case(
            hours: nil,
            pausedUntil: "2026-11-27T03:00:00Z",
            at: "2026-11-27T03:00:00Z",
            answers: true
        ),
        // Nine o'clock in Berlin is eight in winter and seven in summer.
        Case(hours: office, at: "2026-11-30T07:59:59Z", answers: false),
        Case(hours: office, at: "2026-11-30T08:00:00Z", answers: true),
        Case(hours: office, at: "2026-07-06T07:00:00Z", answers: true),
        Case(hours: office, at: "2026-11-30T16:00:00Z", answers: false),
        Case(hours: office, at: "2026-12-01T10:00:00Z", answers: false),
        // Over midnight it is the day on which it began that counts.
        Case(hours: night, at: "2026-11-29T21:00:00Z", answers: true),
        Case(hours: night, at: "2026-11-30T04:59:59Z", answers: true),
        Case(hours: night, at: "2026-11-30T05:00:00Z", answers: false),
        Case(hours: night, at: "2026-11-30T21:30:00Z", answers: false),
        Case(hours: night, at: "2026-11-29T03:00:00Z", answers: false),
        Case(
            hours: office,
            pausedUntil: "2026-11-30T09:00:00Z",
            at: "2026-11-30T08:30:00Z",
            answers: false
        ),
        Case(hours: #"{"tz": "UTC", "windows": []}"#, at: "2026-11-30T08:30:00Z", answers: false),
        Case(
            hours: #"{"tz": "UTC", "windows": [{"day": "mon", "from": "00:00", "to": "00:00"}]}"#,
            at: "2026-11-30T23:59:59Z",
            answers: true
        ),
    ]

    @Test("it answers in its hours, there, unless it is paused or not active")
    @LoopActor func hours() async throws {
        try await SchemaDatabase.with { postgres in
            for one in BotHoursTests.cases {
                let row = try await postgres.query(
                    """
                    select messaging.answers_at(jsonb_populate_record(null::messaging.bots,
                      jsonb_build_object('is_active', $1::bool, 'paused_until', $2::text,
                        'hours', $3::jsonb)), $4::timestamptz) as answers
                    """,
                    [
                        .bool(one.isActive), PostgresValue(one.pausedUntil),
                        one.hours.map { .json($0) } ?? .null, .string(one.at),
                    ]
                ).one()
                #expect(try row.bool("answers") == one.answers, "\(one.description)")
            }
        }
    }
}
