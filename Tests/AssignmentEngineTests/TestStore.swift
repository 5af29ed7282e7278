import Coordination
import EventLoop
import Foundation
import JSON
import Logging
import Platform
import PostgresClient
import Testing

@testable import assignment_engine

/// A database of its own with the project's migrations, and the engine on it.
@LoopActor
final class TestStore {
    nonisolated static let url =
        ProcessInfo.processInfo.environment["SWITCHBOARD_TEST_DATABASE_URL"]

    let postgres: PostgresClient
    let sessions: SessionRepository
    private(set) var tenant = Tenant(id: UUID(), code: "")

    private init(_ postgres: PostgresClient) {
        self.postgres = postgres
        sessions = SessionRepository(postgres: postgres)
    }

    private static var shared: TestStore?

    /// The store of this process; each caller gets a tenant of its own in it.
    static func open() async throws -> TestStore {
        let store: TestStore
        if let shared {
            store = shared
        } else {
            store = TestStore(try await database())
            shared = store
        }
        let mine = TestStore(store.postgres)
        mine.tenant = try await mine.makeTenant()
        return mine
    }

    private static func database() async throws -> PostgresClient {
        let url = try #require(url)
        let name = "engine_" + UUID().uuidString.lowercased().prefix(8)
        let admin = PostgresClient(try PostgresConfiguration(url: url, applicationName: "tests"))
        try await admin.start()
        _ = try await admin.query("create database \(name)", [])
        await admin.stop()
        var parts = try #require(URLComponents(string: url))
        parts.path = "/" + name
        let text = try #require(parts.string)
        let configuration = try PostgresConfiguration(url: text, applicationName: "tests")
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../compose/migrations").standardizedFileURL.path
        _ = try await Migrator(configuration).run(directory: folder)
        let client = PostgresClient(configuration)
        try await client.start()
        return client
    }

    /// An engine with this counter: what one instance is.
    func engine(_ contexts: any RoundRobinContextProvider) -> AssignmentService {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return AssignmentService(
            sessions: sessions,
            contexts: contexts,
            retries: EngineRetries(postgres: postgres),
            logger: logger
        )
    }

    // MARK: A small company

    func makeTenant() async throws -> Tenant {
        let code = "t-" + UUID().uuidString.lowercased().prefix(12)
        let rows = try await postgres.query(
            "insert into platform.tenants (code) values ($1) returning id",
            [.string(code)]
        )
        return Tenant(id: try rows.one().uuid("id"), code: code)
    }

    func team(_ policy: JSON, id: UUID = UUID(), tenant: Tenant? = nil) async throws -> UUID {
        try await run(
            "select assignment.put_team($1, $2, 'Team', $3::jsonb, 'test', 'r')",
            [.uuid((tenant ?? self.tenant).id), .uuid(id), .json(policy.text)]
        )
        return id
    }

    func agent(
        in team: UUID?,
        id: UUID = UUID(),
        capacity: Int = 1000,
        weight: Int = 100,
        tenant: Tenant? = nil
    ) async throws -> UUID {
        let tenant = tenant ?? self.tenant
        try await run(
            "select assignment.put_agent($1, $2, $3, 'Agent', $4, 'manual', null, null, null, "
                + "interval '90 s', 'test', 'r')",
            [.uuid(tenant.id), .string(tenant.code), .uuid(id), .int(capacity)]
        )
        if let team {
            try await run(
                "select assignment.put_member($1, $2, $3, $4, true, 'test', 'r')",
                [.uuid(tenant.id), .uuid(team), .uuid(id), .int(weight)]
            )
        }
        try await status(id, "online", tenant: tenant)
        return id
    }

    func join(_ agent: UUID, to team: UUID, weight: Int = 100) async throws {
        try await run(
            "select assignment.put_member($1, $2, $3, $4, true, 'test', 'r')",
            [.uuid(tenant.id), .uuid(team), .uuid(agent), .int(weight)]
        )
    }

    func leave(_ agent: UUID, from team: UUID) async throws {
        try await run(
            "select assignment.delete_member($1, $2, $3, 'test', 'r')",
            [.uuid(tenant.id), .uuid(team), .uuid(agent)]
        )
    }

    func status(_ agent: UUID, _ status: String, tenant: Tenant? = nil) async throws {
        let tenant = tenant ?? self.tenant
        try await run(
            "select assignment.set_status($1, $2, $3, $4, interval '90 s', 'test', 'r')",
            [.uuid(tenant.id), .string(tenant.code), .uuid(agent), .string(status)]
        )
    }

    /// Hands a new conversation over; the agent that got it.
    func handOver(_ engine: AssignmentService, team: UUID?) async throws -> RunResult {
        let request = HandoverRequest(
            conversationID: UUID(),
            contactID: UUID().uuidString,
            teamID: team
        )
        let audit = AuditNote(actor: "test", reason: nil, requestID: "r")
        return try await engine.requestAssignment(tenant, request, audit: audit).result
    }

    func act(_ session: UUID, _ action: SessionAction) async throws {
        try await run(
            "select assignment.act_on_session($1, $2, $3, $4, null, null, false, 'test', null, 'r')",
            [.uuid(tenant.id), .string(tenant.code), .uuid(session), .string(action.rawValue)]
        )
    }

    func replied(_ session: UUID, _ agent: UUID) async throws {
        try await run(
            "select assignment.note_reply($1, $2, $3, $4, now(), 'test', null, 'r')",
            [.uuid(tenant.id), .string(tenant.code), .uuid(session), .uuid(agent)]
        )
    }

    func run(_ sql: String, _ parameters: [PostgresValue]) async throws {
        _ = try await postgres.query(sql, parameters)
    }

    /// How many rows of this tenant a condition finds.
    func count(_ from: String) async throws -> Int {
        try await postgres.query("select count(*) as n from \(from)", [.uuid(tenant.id)]).one()
            .int("n")
    }
}
