import Coordination
import Domain
import EventLoop
import Foundation
import JSON
import Logging
import Platform
import PostgresClient
import Testing

@testable import messaging

/// A fault in the middle of what must be one.
@Suite("Rollback", .serialized, .needsPostgres)
struct RollbackTests {
    /// Everything that a conversation consists of, as text.
    @LoopActor
    static func everything(_ postgres: PostgresClient) async throws -> String {
        var all = ""
        for table in ["conversations", "messages", "threads", "ai_jobs"] {
            all += try await postgres.query(
                """
                select coalesce(jsonb_agg(to_jsonb(x) order by x.id), '[]')::text t
                from messaging.\(table) x
                """
            ).one().string("t")
        }
        all += try await postgres.query(
            "select count(*)::text t from platform.outbox"
        ).one().string("t")
        return all
    }

    /// Lets the database refuse every row of `table` from now on.
    @LoopActor
    static func breakInserts(_ postgres: PostgresClient, into table: String) async throws {
        _ = try await postgres.query(
            """
            create or replace function public.refuse() returns trigger language plpgsql as
            'begin raise exception ''injected''; end'
            """
        )
        _ = try await postgres.query(
            """
            create trigger refuse before insert on \(table) for each row
            execute function public.refuse()
            """
        )
    }

    @LoopActor
    static func world(_ postgres: PostgresClient) async throws -> MailboxWorld {
        let tenant = UUID()
        _ = try await postgres.query(
            "insert into platform.tenants (id, code) values ($1, 't')",
            [.uuid(tenant)]
        )
        _ = try await postgres.query(
            "insert into messaging.channels (tenant_id, code, kind) values ($1, 'c', 'local')",
            [.uuid(tenant)]
        )
        return try await MailboxWorld(
            postgres,
            try settings(),
            tenant: tenant,
            mixesHistories: true
        )
    }

    @Test(
        "a message whose thread, event or job cannot be stored leaves nothing",
        arguments: ["messaging.threads", "platform.outbox", "messaging.ai_jobs"]
    )
    @LoopActor func posting(_ table: String) async throws {
        try await SchemaDatabase.with { postgres in
            let world = try await RollbackTests.world(postgres)
            let before = try await RollbackTests.everything(postgres)
            try await RollbackTests.breakInserts(postgres, into: table)
            await #expect(throws: PostgresError.self) { try await world.says("hello") }
            #expect(try await RollbackTests.everything(postgres) == before)
        }
    }

    @Test(
        "an answer that cannot be stored leaves its job as it was",
        arguments: ["messaging.messages", "platform.outbox"]
    )
    @LoopActor func finishing(_ table: String) async throws {
        try await SchemaDatabase.with { postgres in
            let world = try await RollbackTests.world(postgres)
            try await world.says("hello")
            try await world.claims(0)
            let before = try await RollbackTests.everything(postgres)
            try await RollbackTests.breakInserts(postgres, into: table)
            await #expect(throws: PostgresError.self) { try await world.answersNow() }
            #expect(try await RollbackTests.everything(postgres) == before)
            _ = try await postgres.query("drop trigger refuse on \(table)")
            try await world.settles()
        }
    }

    @LoopActor
    private static func handler(
        _ configuration: MessagingConfiguration,
        _ postgres: PostgresClient,
        _ manager: BackgroundJobManager,
        _ start: @escaping @LoopActor () -> Void
    ) -> MessageHandler {
        let logger = Logger(label: "test")
        return MessageHandler(
            configurations: BotConfigService(
                settings: ConfigurationRepository(
                    postgres: postgres,
                    secrets: configuration.service.secretBox
                ),
                logger: logger,
                freshFor: .seconds(60),
                staleFor: .seconds(600)
            ),
            jobs: manager,
            handovers: LateHandovers(
                postgres: postgres,
                redis: nil,
                isAlone: true,
                interval: .seconds(5),
                logger: logger,
                asked: { _, _ in }
            ),
            start: start
        )
    }

    @Test("the handler begins once, however many requests are first")
    @LoopActor func initializesOnce() async throws {
        let configuration = try settings()
        // A database that was never started: each request fails, after it has initialized.
        let postgres = PostgresClient(configuration.service.postgres)
        let logger = Logger(label: "test")
        let memory = AnalysisCache(redis: nil)
        let jobs = AIJobRepository(postgres: postgres)
        let locks = MessageLockManager(
            stores: [],
            ttl: .seconds(1),
            instance: "i",
            jobs: jobs
        )
        let providers = AIProviders(named: [:], memory: memory)
        let mirror = JobMirror(redis: nil)
        let manager = BackgroundJobManager(
            jobs: jobs,
            locks: locks,
            mirror: mirror,
            offline: OfflineJobs(
                locks: locks,
                mirror: mirror,
                providers: providers,
                settings: configuration.bot
            ),
            runner: BotRunner(
                jobs: BotJobs(postgres: postgres, settings: configuration.bot, worker: "w"),
                locks: locks,
                mirror: mirror,
                secrets: configuration.service.secretBox,
                providers: providers,
                logger: logger,
                committed: {}
            ),
            debounce: .zero
        )
        var begun = 0
        let handler = RollbackTests.handler(configuration, postgres, manager) { begun += 1 }
        let caller = Caller(tenant: UUID(), code: "t", actor: "a", requestID: "r")
        let tasks = (0..<50).map { _ in
            Task { @LoopActor in
                let request = HandleRequest(
                    conversation: UUID(),
                    turns: [AITurn(role: .user, content: "x")],
                    resources: nil
                )
                _ = try? await handler.handleMessageRequest(caller, request)
            }
        }
        for task in tasks { await task.value }
        handler.initialize()
        handler.initialize()
        #expect(begun == 1)
    }
}
