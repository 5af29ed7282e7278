import EventLoop
import Foundation
import JSON
import PostgresClient
import TestSupport
import Testing

/// The model of the simulation and the functions in PostgreSQL, driven by the same random calls.
@Suite("SendRowAgainstPostgresTests", .serialized)
struct SendRowAgainstPostgresTests {
    static let seeds = 60
    static let steps = 40

    /// One request in both worlds.
    ///
    /// The database's clock cannot be set: times are compared as "has come" or "has not", and what
    /// lies ahead is an hour ahead.
    @LoopActor
    struct Pair {
        let postgres: PostgresClient
        let tenant: UUID
        let id: UUID
        var row = SendRow()
        var tokens: [UUID] = []

        static let hour = 3_600_000

        private func call(_ sql: String, _ parameters: [PostgresValue]) async throws -> String? {
            try await postgres.query(
                "select (\(sql))::text as answer",
                [.uuid(tenant), .uuid(id)] + parameters
            ).one().optionalString("answer")
        }

        mutating func step(_ random: inout SeededRandom) async throws {
            let old = tokens.isEmpty ? UUID() : tokens[Int(random.next() % UInt64(tokens.count))]
            let index = tokens.firstIndex(of: old)
            let generation = random.chance(0.9) ? row.generation : row.generation + 1
            switch random.next() % 11 {
            case 0:
                let isDone = row.dispatch(generation: generation, now: 0)
                let answer = try await call(
                    """
                    select d.dispatched
                      from dispatch.mark_dispatched(array[$1::uuid], array[$2::uuid],
                        array[$3::int]) d
                    """,
                    [.int(generation)]
                )
                #expect(answer == "\(isDone)")
            case 1, 2, 3: try await begin(generation, &random)
            case 4, 5, 6: try await finish(old, index, &random)
            case 7:
                let isOurs = row.renew(token: index ?? -1, lease: Pair.hour, now: 0)
                let answer = try await call(
                    "dispatch.renew_lease($1, $2, $3, interval '1 hour')",
                    [.uuid(old)]
                )
                #expect(answer == "\(isOurs)")
            case 8:
                let cancelling = row.cancel()
                let answer = try await call(
                    "dispatch.cancel($1, $2, 'test', null, 'r')->'result'",
                    []
                )
                #expect(answer == "\"\(cancelling.rawValue)\"")
            case 9: try await settle(old, index, generation, &random)
            default:
                guard row.isEnded else { return }
                _ = row.resend(now: 0)
                _ = try await call("dispatch.resend($1, $2, true, 'test', 'again', 'r')", [])
            }
        }

        /// What came of steps that are recorded together, now and then beside one of a request that is
        /// not there.
        private func recorded(_ steps: [JSON], _ random: inout SeededRandom) async throws -> [JSON]
        {
            let stranger: JSON = [
                "tenant_id": .string(tenant.uuidString), "id": .string(UUID().uuidString),
                "token": .string(UUID().uuidString), "generation": 1,
            ]
            let all = random.chance(0.3) ? steps + [stranger] : steps
            let answers = try await postgres.query(
                """
                select answer from dispatch.step_sends($1::jsonb, interval '1 hour')
                 order by place
                """,
                [.json(JSON.array(all).text)]
            ).map { try JSON(parsing: Array(try $0.string("answer").utf8)) }
            #expect(answers.count == all.count)
            if all.count > steps.count { #expect(answers.last?["begun"] == false) }
            return answers
        }

        private mutating func begin(_ generation: Int, _ random: inout SeededRandom) async throws {
            // Two jobs of one request may be at the same point.
            let wanted = (0..<(random.chance(0.2) ? 2 : 1)).map { _ in UUID() }
            let isBegun = wanted.map { token in
                tokens.append(token)
                return row.begin(
                    generation: generation,
                    token: tokens.count - 1,
                    lease: Pair.hour,
                    now: 0
                )
            }
            let answers = try await recorded(
                wanted.map { token in
                    [
                        "tenant_id": .string(tenant.uuidString), "id": .string(id.uuidString),
                        "token": .string(token.uuidString), "generation": .int(Int64(generation)),
                    ]
                },
                &random
            )
            for (answer, isBegun) in zip(answers, isBegun) {
                #expect(answer["begun"] == .bool(isBegun))
            }
        }

        private mutating func finish(
            _ token: UUID,
            _ index: Int?,
            _ random: inout SeededRandom
        ) async throws {
            let all: [SendRow.Status] = [.sent, .retryWait, .retryWait, .unknown, .failed]
            let wanted = all[Int(random.next() % UInt64(all.count))]
            let counts = random.chance(0.7)
            let waits = random.chance(0.2)
            let final = row.finish(
                token: index ?? -1,
                wanted,
                ts: wanted == .sent ? 7 : nil,
                wait: waits ? Pair.hour : 0,
                counts: counts,
                now: 0
            )
            let answers = try await recorded(
                [
                    [
                        "tenant_id": .string(tenant.uuidString), "id": .string(id.uuidString),
                        "token": .string(token.uuidString), "status": .string(wanted.rawValue),
                        "provider_ts": wanted == .sent ? "7" : .null,
                        "wait_ms": .int(waits ? Int64(Pair.hour) : 0), "counts": .bool(counts),
                        "took_ms": 1,
                    ]
                ],
                &random
            )
            #expect(answers.first?["recorded"] == .bool(final != nil))
        }

        private mutating func settle(
            _ token: UUID,
            _ index: Int?,
            _ generation: Int,
            _ random: inout SeededRandom
        ) async throws {
            let wanted = random.chance(0.5) ? SendRow.Status.sent : .retryWait
            let isPerson = random.chance(0.3)
            let isSettled = row.settle(
                generation: generation,
                fence: isPerson ? nil : index ?? -1,
                wanted,
                ts: wanted == .sent ? 9 : nil,
                now: 0
            )
            let answer = try await call(
                "dispatch.settle_unknown($1, $2, $3, $4, $5, null, $6, null, null, null)->'id'",
                [
                    .int(generation), .string(wanted.rawValue),
                    wanted == .sent ? .string("9") : .null, isPerson ? .null : .uuid(token),
                ]
            )
            #expect((answer != nil) == isSettled)
        }

        /// Both tell the same of the request.
        func compare(_ comment: String) async throws {
            let found = try await postgres.query(
                """
                select status, generation, attempts, cancel_requested, provider_ts,
                       attempt_token::text as token, next_attempt_at > now() as waits
                  from dispatch.message_requests where tenant_id = $1 and id = $2
                """,
                [.uuid(tenant), .uuid(id)]
            ).one()
            let stored = [
                try found.string("status"), "\(try found.int("generation"))",
                "\(try found.int("attempts"))", "\(try found.bool("cancel_requested"))",
                try found.optionalString("provider_ts") ?? "", "\(try found.bool("waits"))",
                try found.optionalString("token") ?? "",
            ]
            let model = [
                row.status.rawValue, "\(row.generation)", "\(row.attempts)",
                "\(row.cancelRequested)", row.ts.map(String.init) ?? "",
                "\(row.nextAttemptAt > 0)",
                row.token.map { tokens[$0].uuidString.lowercased() } ?? "",
            ]
            #expect(stored == model, "\(comment)")
        }
    }

    @Test(
        "the functions of the schema do what the model says, whatever is called",
        .enabled(if: PrivatePostgres.isInstalled, "PostgreSQL 15 is not installed")
    )
    @LoopActor func agrees() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let configuration = try PostgresConfiguration(url: url, applicationName: "simulation")
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../compose/migrations").standardizedFileURL.path
        _ = try await Migrator(configuration).run(directory: folder)
        let postgres = PostgresClient(configuration)
        try await postgres.start()
        let tenant = try await postgres.query(
            "insert into platform.tenants (code) values ('simulation') returning id"
        ).one().uuid("id")
        _ = try await postgres.query(
            """
            select dispatch.put_workspace($1, 'w', 'local', null, null, '[]', 'test', 'r',
                'simulation', null, null),
              dispatch.put_channel($1, 'simulation', 'c', 'w', 'C0', null, null, null, null,
                'test', 'r')
            """,
            [.uuid(tenant)]
        )
        for seed in 1...SendRowAgainstPostgresTests.seeds {
            var random = SeededRandom(seed: UInt64(seed))
            var pair = Pair(postgres: postgres, tenant: tenant, id: UUID())
            pair.row.maxAttempts = 1 + Int(random.next() % 4)
            _ = try await postgres.query(
                """
                select dispatch.accept($1, 'simulation', $2, jsonb_build_object('text', 'x',
                  'channel_code', 'c', 'max_attempts', $3::int), null, null, null, null, null, 'test', 'r')
                """,
                [.uuid(tenant), .uuid(pair.id), .int(pair.row.maxAttempts)]
            )
            for _ in 0..<SendRowAgainstPostgresTests.steps {
                try await pair.step(&random)
                try await pair.compare("seed \(seed)")
            }
        }
        await postgres.stop()
    }
}
