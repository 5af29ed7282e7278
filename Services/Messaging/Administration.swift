internal import ArgumentParser
internal import Coordination
internal import EventLoop
internal import HTTPServer
internal import JSON
internal import Platform
internal import PostgresClient
internal import RedisClient

/// What the command line does to the database.
@LoopActor
enum Administration {
    static func migrate(
        _ settings: Settings,
        directory: String
    ) async throws -> MigrationReport {
        try await Migrator(database(settings)).run(directory: directory)
    }

    /// Makes a key of `role`, and the tenant if it is new.
    ///
    /// The key is in the database, with a row in the audit, before it is shown.
    static func createKey(
        _ settings: Settings,
        tenant: String,
        role: String
    ) async throws -> String {
        guard TextPattern.code.matches(tenant) else {
            throw ValidationError("--tenant '\(tenant)' \(TextPattern.code.detail)")
        }
        guard Role(role) != nil else {
            let known = Role.allCases.map(\.description).joined(separator: ", ")
            throw ValidationError("--role '\(role)' is none of \(known)")
        }
        let postgres = PostgresClient(try database(settings))
        try await postgres.start()
        try await Migrator.requireUpToDate(postgres, version: Schema.version)
        let key = ApiKey.make()
        _ = try await postgres.query(
            """
            with made as (
              insert into platform.tenants (code) values ($1)
              on conflict (code) do update set code = excluded.code returning id),
            stored as (
              insert into platform.api_keys (key_id, tenant_id, role, secret_sha256)
              select $2, id, $3, $4 from made returning tenant_id)
            select platform.note_audit(tenant_id, 'command line', 'key.create', $2, null,
              jsonb_build_object('role', $3::text), null, null),
              platform.emit('messaging', tenant_id, $1, 'key.created', $2, 0,
              jsonb_build_object('key_id', $2::text, 'role', $3::text))
            from stored
            """,
            [.string(tenant), .string(key.keyID), .string(role), .bytes(key.digest)]
        )
        await postgres.stop()
        return key.reveal()
    }

    /// Ends a key: in the database first, then in the memory of every process.
    ///
    /// - Throws: `ValidationError` when there is no such key that is still valid.
    static func revokeKey(_ settings: Settings, keyID: String) async throws {
        let postgres = PostgresClient(try database(settings))
        try await postgres.start()
        try await Migrator.requireUpToDate(postgres, version: Schema.version)
        let revoked = try await postgres.query(
            """
            with ended as (
              update platform.api_keys set revoked_at = now()
              where key_id = $1 and revoked_at is null returning tenant_id, role)
            select platform.note_audit(tenant_id, 'command line', 'key.revoke', $1,
              jsonb_build_object('role', role), null, null, null) from ended
            """,
            [.string(keyID)]
        )
        await postgres.stop()
        guard !revoked.isEmpty else {
            throw ValidationError("there is no valid key '\(keyID)'")
        }
        let redis = try RedisConfiguration(
            environment: settings.environment,
            serviceDefault: .optional
        )
        if redis.mode != .disabled { await KeyRevocations.publish(keyID, to: redis) }
    }

    /// Seals anew what an older key has sealed.
    static func rotateSecrets(_ settings: Settings) async throws -> SecretRotation.Report {
        var settings = settings
        let keys = settings.required("SECRETS_KEY", "id:base64,id:base64, the newest first")
        let postgres = PostgresClient(try database(settings))
        let box = try SecretBox(parsing: keys)
        try await postgres.start()
        try await Migrator.requireUpToDate(postgres, version: Schema.version)
        let report = try await SecretRotation(postgres, box).run()
        await postgres.stop()
        return report
    }

    private static func database(_ settings: Settings) throws -> PostgresConfiguration {
        var settings = settings
        let url = settings.required("DATABASE_URL", "postgres://user:password@host:5432/database")
        try settings.check()
        return try PostgresConfiguration(url: url, applicationName: "messaging")
    }
}
