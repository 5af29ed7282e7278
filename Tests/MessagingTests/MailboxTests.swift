import Domain
import EventLoop
import Foundation
import PostgresClient
import TestSupport
import Testing

@testable import messaging

/// The mailbox as it really runs, in the database, under everything that can happen to it.
@Suite("Mailbox simulation", .serialized, .needsPostgres)
struct MailboxTests {
    static let runs = ProcessInfo.processInfo.environment["SWITCHBOARD_LONG"] == nil ? 40 : 3000
    /// Seeds that have found a fault, long after those that are tried each time.
    static let found: [UInt64] = [2888]
    /// How many seeds look for a planted fault that its own seed does not find.
    static let searchedRuns = 300

    @Test("every message is answered once, dropped by order or handed over, whatever happens")
    @LoopActor func invariants() async throws {
        try await SchemaDatabase.with { postgres in
            let simulation = try await MailboxSimulation(postgres)
            for seed in MailboxTests.found {
                var random = SeededRandom(seed: seed)
                try await simulation.run(&random)
            }
            try await SeededRandom.check(runs: MailboxTests.runs) { random in
                try await simulation.run(&random)
            }
        }
    }

    /// A fault that somebody could plant: a function, what stands there, and what would.
    struct Mutant: CustomTestStringConvertible {
        let fault: String
        /// A seed that has found it, and is tried first; should it not any more, all others are.
        let seed: UInt64
        let function: String
        let original: String
        let planted: String
        var testDescription: String { fault }
    }

    static let mutants = [
        Mutant(
            fault: "an answer is written without looking at the fence",
            seed: 1,
            function: "finish_ai_job",
            original: """
                  if j.id is null or j.status <> 'processing' or j.worker is distinct from p_worker
                    or j.fence <> p_fence or c.fence <> p_fence
                """,
            planted: "  if j.id is null"
        ),
        Mutant(
            fault: "an answer is written over a newer message",
            seed: 3,
            function: "finish_ai_job",
            original: "c.last_user_seq > j.upto_seq\n    and not p_post_anyway",
            planted: "false\n    and not p_post_anyway"
        ),
        Mutant(
            fault: "a try that is cancelled forgets what came in before it",
            seed: 2888,
            function: "stop_ai_job",
            original: "then newer else",
            planted: "then 0 else"
        ),
        Mutant(
            fault: "a talkative contact never gets an answer",
            seed: 70,
            function: "finish_ai_job",
            original: "and c.supersedes < p_max_supersedes",
            planted: ""
        ),
        Mutant(
            fault: "an answer settles also what came in after its question",
            seed: 70,
            function: "finish_ai_job",
            original: "answered_seq = greatest(answered_seq, j.upto_seq)",
            planted: "answered_seq = last_user_seq"
        ),
        Mutant(
            fault: "what came in during a try that failed is not counted",
            seed: 64,
            function: "fail_ai_job",
            original: "consolidated_messages = consolidated_messages + c.pending_count,",
            planted: ""
        ),
        Mutant(
            fault: "a superseded answer's messages are not counted by the next",
            seed: 5,
            function: "supersede",
            original: "pending_count = pending_count + j.consolidated_messages,",
            planted: ""
        ),
        Mutant(
            fault: "stop leaves the running job alone",
            seed: 3,
            function: "silence_bot",
            original: "if not found then return null; end if;",
            planted: "return null;"
        ),
        Mutant(
            fault: "a second try has the fence of the first",
            seed: 68,
            function: "fail_ai_job",
            original: "fence = c.fence + 1, worker = null,",
            planted: "worker = null,"
        ),
        Mutant(
            fault: "a job that failed for good leaves its messages to nobody",
            seed: 41,
            function: "fail_ai_job",
            original: "if bot.wish <> 'keep' then",
            planted: "if false then"
        ),
        Mutant(
            fault: "a released lock drops its messages",
            seed: 32,
            function: "stop_ai_job",
            original: "case p_status when 'superseded' then answered_seq",
            planted: "case p_status when 'none' then answered_seq"
        ),
        Mutant(
            fault: "the sweep does not look for conversations without a job",
            seed: 32,
            function: "sweep_ai",
            original: "c.awaits_bot and",
            planted: "false and"
        ),
        Mutant(
            fault: "messages that join a history brought along are not answered",
            seed: 11,
            function: "ai_job_work",
            original: "'posts', j.upto_seq > c.answered_seq,",
            planted: "'posts', j.input is null,"
        ),
        Mutant(
            fault: "an answer stays in the conversation",
            seed: 1,
            function: "say_out",
            original: "perform messaging.send_out(m, p_code, c.version + 1);",
            planted: ""
        ),
        Mutant(
            fault: "an answer that was superseded is sent all the same",
            seed: 3,
            function: "finish_ai_job",
            original: "next_job := messaging.supersede(c, j, p_result, now());",
            planted: """
                next_job := messaging.supersede(c, j, p_result, now());
                perform platform.enqueue_call('messaging', p_tenant, j.tenant, 'dispatch-worker',
                  '/v1/message-requests', c.id::text, c.version + 1,
                  jsonb_build_object('text', p_parts), gen_random_uuid());
                """
        ),
        Mutant(
            fault: "an aborted call drops what it was to answer",
            seed: 16,
            function: "supersede_ai_job",
            original: "perform messaging.supersede(c, j, null, greatest(now(), c.debounce_until));",
            planted:
                "perform messaging.stop_ai_job(p_tenant, p_job, null, 'cancelled', '', '', '');"
        ),
        Mutant(
            fault: "calls are aborted for as long as the contact writes",
            seed: 1,
            function: "supersede_ai_job",
            original: "c.last_user_seq > j.upto_seq and c.supersedes < p_max_supersedes",
            planted: "c.last_user_seq > j.upto_seq"
        ),
        Mutant(
            fault: "of an answer in parts only the last is sent",
            seed: 1,
            function: "say_out",
            original: "perform messaging.send_out(m, p_code, c.version + 1);",
            planted: """
                if part.n = jsonb_array_length(p_parts) then
                  perform messaging.send_out(m, p_code, c.version + 1);
                end if;
                """
        ),
        Mutant(
            fault: "the bot goes on while a person owns the conversation",
            seed: 3,
            function: "apply_assignment",
            original:
                "job := messaging.silence_bot(p_tenant, p_conversation, 'the owner changed');",
            planted: "p_owner := 'bot'; v_owner := 'bot';"
        ),
    ]

    @Test("the simulation finds planted faults", arguments: mutants)
    @LoopActor func findsMutant(_ mutant: Mutant) async throws {
        try await SchemaDatabase.with { postgres in
            let source = try await postgres.query(
                "select pg_get_functiondef(('messaging.' || $1)::regproc) text",
                [.string(mutant.function)]
            ).one().string("text")
            let parts = source.split(separator: mutant.original, omittingEmptySubsequences: false)
            try #require(parts.count > 1, "the function no longer holds what is replaced")
            _ = try await postgres.query(parts.joined(separator: mutant.planted))
            let simulation = try await MailboxSimulation(postgres)
            do {
                var random = SeededRandom(seed: mutant.seed)
                try await simulation.run(&random)
            } catch is Violation {
                return
            }
            print("seed \(mutant.seed) finds it no more: \(mutant.fault)")
            await #expect(throws: SeededRandom.Failure.self) {
                try await SeededRandom.check(runs: MailboxTests.searchedRuns) { random in
                    try await simulation.run(&random)
                }
            }
        }
    }
}

/// Many conversations in one database, each with a random life.
@LoopActor
struct MailboxSimulation {
    static let steps = 40

    private let postgres: PostgresClient
    private let configuration: MessagingConfiguration
    private let tenant = UUID()

    init(_ postgres: PostgresClient) async throws {
        self.postgres = postgres
        configuration = try settings()
        _ = try await postgres.query(
            "insert into platform.tenants (id, code) values ($1, 't')",
            [.uuid(tenant)]
        )
        _ = try await postgres.query(
            "insert into messaging.channels (tenant_id, code, kind) values ($1, 'c', 'slack')",
            [.uuid(tenant)]
        )
    }

    func run(_ random: inout SeededRandom) async throws {
        let world = try await MailboxWorld(
            postgres,
            configuration,
            tenant: tenant,
            mixesHistories: random.chance(0.4)
        )
        for _ in 1...MailboxSimulation.steps { try await step(world, &random) }
        try await world.settles()
    }

    private func step(_ world: MailboxWorld, _ random: inout SeededRandom) async throws {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<30: try await world.says("hello \(random.next())")
        case 30..<55: try await world.claims(Int.random(in: 0..<3, using: &random))
        case 55..<73: try await world.answers(&random)
        case 73..<78: try await world.fails(&random)
        case 78..<79: try await world.givesBack(&random)
        case 79..<82: try await world.aborts(&random)
        case 82..<84: try await world.leasesEnd()
        case 84..<88: try await world.sweeps()
        case 88..<91: try await world.handles()
        case 91..<93: try await world.cancels()
        case 93..<95: try await world.releases()
        case 95..<96: try await world.says("stop", .stop)
        case 96..<97: try await world.says("agent", .agent)
        case 97..<98: try await world.personTakes()
        default: try await world.personReturns()
        }
    }
}
