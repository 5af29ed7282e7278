import EventLoop
import Foundation
import Logging
import PostgresClient
import TestSupport
import Testing

@testable import Platform

@Suite("PartitionKeeper", .serialized, .enabled(if: PrivatePostgres.isInstalled))
@LoopActor
struct PartitionKeeperTests {
    private static let emit = """
        select platform.emit('messaging', gen_random_uuid(), 't', 'message.created', 'k', 1, '{}')
        """

    private func withDatabase(
        _ body: @LoopActor (PostgresClient) async throws -> Void
    ) async throws {
        try await MigratedDatabase().withClient(body)
    }

    private func count(_ client: PostgresClient, _ sql: String) async throws -> Int {
        try await client.query("select (\(sql))::int as n").one().int("n")
    }

    private func partitions(_ client: PostgresClient, of table: String) async throws -> Int {
        try await count(
            client,
            "select count(*) from pg_inherits where inhparent = '\(table)'::regclass"
        )
    }

    @Test("the first migration leaves a week of partitions, with the table's indexes")
    func first() async throws {
        try await withDatabase { client in
            for table in ["platform.outbox", "platform.audit", "platform.idempotency"] {
                let made = try await partitions(client, of: table)
                #expect(made >= 8, "\(table)")
            }
            let indexes =
                "select count(*) from pg_inherits where inhparent = 'platform.%@'::regclass"
            for index in ["outbox_pending", "outbox_pkey", "audit_pkey", "idempotency_pkey"] {
                let sql = indexes.replacingOccurrences(of: "%@", with: index)
                let attached = try await count(client, sql)
                #expect(attached >= 8, "\(index)")
            }
        }
    }

    @Test("partitions are made while a transaction writes to the table")
    func besideWriters() async throws {
        try await withDatabase { client in
            let made = try await client.transaction { transaction in
                _ = try await transaction.query(PartitionKeeperTests.emit)
                return try await count(client, "platform.ensure_partitions(9)")
            }
            #expect(made >= 6)
        }
    }

    @Test("a service that starts after a long pause can store at once")
    func longPause() async throws {
        try await withDatabase { client in
            _ = try await client.query(
                """
                do $$ declare p text; begin
                  for p in select inhrelid::regclass::text from pg_inherits
                           where inhparent = 'platform.outbox'::regclass loop
                    execute 'drop table ' || p;
                  end loop; end $$
                """
            )
            await #expect(throws: PostgresError.self) {
                _ = try await client.query(PartitionKeeperTests.emit)
            }
            let keeper = PartitionKeeper(client, logger: Logger(label: "tests"))
            try await keeper.start()
            keeper.stop()
            _ = try await client.query(PartitionKeeperTests.emit)
            #expect(try await count(client, "select count(*) from platform.outbox") == 1)
        }
    }

    @Test("what is older than its table keeps is dropped, but for what still waits")
    func retention() async throws {
        try await withDatabase { client in
            _ = try await client.query(
                """
                create table platform.outbox_20200101 (like platform.outbox including all);
                """
            )
            _ = try await client.query(
                """
                alter table platform.outbox attach partition platform.outbox_20200101
                for values from ('2020-01-01 00:00:00+00') to ('2020-01-02 00:00:00+00')
                """
            )
            _ = try await client.query(
                """
                insert into platform.outbox
                  (created_at, source, tenant_id, tenant, kind, target, key, payload)
                values ('2020-01-01 12:00:00+00', 'messaging', gen_random_uuid(), 't', 'event', 'e',
                        'k', '{}')
                """
            )
            let before = try await partitions(client, of: "platform.outbox")
            #expect(try await count(client, "platform.drop_old_partitions()") == 0)
            _ = try await client.query(
                "update platform.outbox set published_at = now() where created_at < '2021-01-01'"
            )
            #expect(try await count(client, "platform.drop_old_partitions()") == 1)
            #expect(try await partitions(client, of: "platform.outbox") == before - 1)
            #expect(try await count(client, "platform.drop_old_partitions()") == 0)
        }
    }

    @Test("a drop gives way to a transaction that uses the table")
    func givesWay() async throws {
        try await withDatabase { client in
            _ = try await client.query(
                "create table platform.audit_20200101 (like platform.audit including all)"
            )
            _ = try await client.query(
                """
                alter table platform.audit attach partition platform.audit_20200101
                for values from ('2020-01-01 00:00:00+00') to ('2020-01-02 00:00:00+00')
                """
            )
            try await client.transaction { transaction in
                _ = try await transaction.query("select 1 from platform.audit limit 1")
                let began = MonotonicTime.now()
                await #expect(throws: PostgresError.self) {
                    _ = try await client.query("select platform.drop_old_partitions()")
                }
                #expect(MonotonicTime.now() - began < .seconds(2))
            }
            #expect(try await count(client, "platform.drop_old_partitions()") == 1)
        }
    }
}
