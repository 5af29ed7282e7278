import Coordination
import EventLoop
import Foundation
import PostgresClient
import TestSupport
import Testing

@testable import Platform

@Suite("SecretRotation", .serialized, .enabled(if: PrivatePostgres.isInstalled))
@LoopActor
struct SecretRotationTests {
    private static let old = "k1:" + Data(repeating: 1, count: 32).base64EncodedString()
    private static let new = "k2:" + Data(repeating: 2, count: 32).base64EncodedString()

    private func tenant(_ client: PostgresClient) async throws -> UUID {
        try await client.query(
            "insert into platform.tenants (code) values ('acme') returning id"
        ).one().uuid("id")
    }

    private func put(
        _ client: PostgresClient,
        _ tenant: UUID,
        _ kind: String,
        _ ref: String,
        _ sealed: SealedSecret
    ) async throws {
        try await client.query(
            "insert into platform.secrets (tenant_id, kind, ref, key_id, sealed) "
                + "values ($1, $2, $3, $4, $5)",
            [
                .uuid(tenant), .string(kind), .string(ref), .string(sealed.keyID),
                .bytes(sealed.bytes),
            ]
        )
    }

    private func stored(
        _ client: PostgresClient,
        _ kind: String,
        _ ref: String
    ) async throws -> SealedSecret {
        let row = try await client.query(
            "select key_id, sealed from platform.secrets where kind = $1 and ref = $2",
            [.string(kind), .string(ref)]
        ).one()
        return SealedSecret(keyID: try row.string("key_id"), bytes: try row.bytes("sealed"))
    }

    @Test("after it the newest key alone opens everything, each secret in its own place")
    func rotates() async throws {
        try await MigratedDatabase().withClient { client in
            let tenant = try await tenant(client)
            let before = try SecretBox(parsing: SecretRotationTests.old)
            // More than one page, bound to the tenant by its code; and one by its id.
            for number in 0...SecretRotation.pageSize {
                let sealed = try before.seal(
                    Secret("token \(number)"),
                    context: "acme|slack_token|w\(number)"
                )
                try await put(client, tenant, "slack_token", "w\(number)", sealed)
            }
            let core = "\(tenant.uuidString.lowercased())|core_ai|c1"
            try await put(
                client,
                tenant,
                "core_ai",
                "c1",
                try before.seal(Secret("core"), context: core)
            )
            let both = try SecretBox(
                parsing: "\(SecretRotationTests.new),\(SecretRotationTests.old)"
            )
            let report = try await SecretRotation(client, both).run()
            #expect(report.rotated == SecretRotation.pageSize + 2 && report.closed.isEmpty)
            let after = try SecretBox(parsing: SecretRotationTests.new)
            for number in [0, SecretRotation.pageSize] {
                let opened = try after.open(
                    try await stored(client, "slack_token", "w\(number)"),
                    context: "acme|slack_token|w\(number)"
                )
                #expect(opened.reveal() == "token \(number)")
            }
            let opened = try after.open(try await stored(client, "core_ai", "c1"), context: core)
            #expect(opened.reveal() == "core")
            let again = try await SecretRotation(client, both).run()
            #expect(again.rotated == 0 && again.current == SecretRotation.pageSize + 2)
        }
    }

    @Test("what no key opens is named and left as it is")
    func closed() async throws {
        try await MigratedDatabase().withClient { client in
            let tenant = try await tenant(client)
            let lost = try SecretBox(
                parsing: "k0:" + Data(repeating: 9, count: 32).base64EncodedString()
            )
            let sealed = try lost.seal(Secret("x"), context: "acme|webhook|w")
            try await put(client, tenant, "webhook", "w", sealed)
            let box = try SecretBox(parsing: SecretRotationTests.new)
            let report = try await SecretRotation(client, box).run()
            #expect(report.closed == ["acme webhook w"] && report.rotated == 0)
            #expect(try await stored(client, "webhook", "w").bytes == sealed.bytes)
        }
    }
}
