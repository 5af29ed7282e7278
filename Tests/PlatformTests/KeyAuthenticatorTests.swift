import Coordination
import EventLoop
import HTTPServer
import PostgresClient
import TestSupport
import Testing

@testable import Platform

@Suite("KeyAuthenticator", .serialized, .enabled(if: PrivatePostgres.isInstalled))
@LoopActor
struct KeyAuthenticatorTests {
    @Test("a key is believed for 5 s without looking, for 10 min while the database is away")
    func times() {
        #expect(KeyAuthenticator.freshFor == .seconds(5))
        #expect(KeyAuthenticator.staleFor == .seconds(600))
    }

    /// A server whose one route answers who asks, and a key of its tenant.
    private func withServer(
        _ body:
            @LoopActor (HTTPServer, KeyAuthenticator, ApiKey, PostgresClient) async throws ->
            Void
    ) async throws {
        try await MigratedDatabase().withClient { postgres in
            let keys = KeyAuthenticator(
                postgres: postgres,
                serviceToken: Secret("a-service-token"),
                service: "test"
            )
            let route = Route(
                .get,
                "/who",
                access: .role(.viewer),
                summary: "Who asks",
                responses: [:],
                handler: { .text($0.context.principal?.keyID ?? "") }
            )
            let server = HTTPServer(
                configuration: HTTPServerConfiguration(),
                router: Router(routes: [route]),
                authenticator: keys
            )
            let key = ApiKey.make()
            _ = try await postgres.query(
                """
                with t as (insert into platform.tenants (code) values ('keys') returning id)
                insert into platform.api_keys (key_id, tenant_id, role, secret_sha256)
                select $1, t.id, 'viewer', $2 from t
                """,
                [.string(key.keyID), .bytes(key.digest)]
            )
            try await body(server, keys, key, postgres)
        }
    }

    private func status(_ server: HTTPServer, _ field: String) async -> Int {
        await server.respond(.get, "/who", fields: ["Authorization": field]).status
    }

    @Test("a revoked key is refused in every spelling that it was recognized in")
    func forgets() async throws {
        try await withServer { server, keys, key, postgres in
            let fields = ["Bearer \(key.reveal())", "bearer \(key.reveal())"]
            for field in fields + fields { #expect(await status(server, field) == 200) }
            _ = try await postgres.query("update platform.api_keys set revoked_at = now()", [])
            // News of it has not come yet.
            for field in fields { #expect(await status(server, field) == 200) }
            keys.forget(keyID: key.keyID)
            for field in fields { #expect(await status(server, field) == 401) }
        }
    }

    @Test("what was recognized is looked up again when news may have been missed")
    func doubts() async throws {
        try await withServer { server, keys, key, postgres in
            let field = "Bearer \(key.reveal())"
            for _ in 1...2 { #expect(await status(server, field) == 200) }
            _ = try await postgres.query("update platform.api_keys set revoked_at = now()", [])
            keys.doubtAll()
            #expect(await status(server, field) == 401)
        }
    }

    @Test("one wrong letter is enough")
    func wrong() async throws {
        try await withServer { server, _, key, _ in
            let field = "Bearer \(key.reveal())"
            #expect(await status(server, field) == 200)
            let last: Character = field.last == "0" ? "1" : "0"
            #expect(await status(server, String(field.dropLast()) + String(last)) == 401)
            #expect(await status(server, String(field.dropLast())) == 401)
            #expect(await status(server, field + last.description) == 401)
            #expect(await status(server, field) == 200)
        }
    }
}
