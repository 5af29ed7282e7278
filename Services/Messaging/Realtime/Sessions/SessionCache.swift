internal import EventLoop
internal import JSON
internal import RedisClient
internal import Telemetry

/// Sessions in Redis (`session:{tenant}:<socket>`), so that a frame of a socket needs no SQL.
///
/// A session that ended leaves a mark in its place for a moment: a slow reader, which found the row
/// before it went, fills nothing over it.
@LoopActor
struct SessionCache {
    /// How long the mark stays: longer than any read of the row takes.
    static let markTTL: Duration = .seconds(60)
    /// What a mark looks like.
    static let mark = "-"

    let redis: RedisClient?

    /// KEYS[1] the session; ARGV[1] the mark, ARGV[2] milliseconds.
    ///
    /// Returns what is there, and puts its end off unless it is the mark.
    private static let reading = RedisScript(
        """
        local value = redis.call('GET', KEYS[1])
        if value and value ~= ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
        return value
        """
    )

    enum Lookup: Sendable {
        case found([UInt8])
        /// It ended a moment ago.
        case gone
        /// The database knows.
        case unknown
    }

    /// Looks, and puts the end of what is there off.
    func get(_ tenant: String, _ socket: String) async -> Lookup {
        let reply = await attempt { redis in
            try await redis.run(
                SessionCache.reading,
                keys: [key(tenant, socket)],
                arguments: [
                    .string(SessionCache.mark), .int(UserSessionService.ttl.milliseconds),
                ]
            )
        }
        let lookup: Lookup =
            switch reply?.bytes {
            case nil: .unknown
            case let bytes? where bytes == Array(SessionCache.mark.utf8): .gone
            case let bytes?: .found(bytes)
            }
        CacheMetrics.count("session", isHit: reply?.bytes != nil)
        return lookup
    }

    /// Puts what was just written.
    func put(_ tenant: String, _ socket: String, _ document: [UInt8]) async {
        await set(tenant, socket, .bytes(document), UserSessionService.ttl)
    }

    /// Puts what was read, unless something is there.
    func fill(_ tenant: String, _ socket: String, _ document: [UInt8]) async {
        await set(tenant, socket, .bytes(document), UserSessionService.ttl, "NX")
    }

    /// Puts the mark of one that ended.
    func forget(_ tenant: String, _ socket: String) async {
        await set(tenant, socket, .string(SessionCache.mark), SessionCache.markTTL)
    }

    private func set(
        _ tenant: String,
        _ socket: String,
        _ value: RedisArgument,
        _ ttl: Duration,
        _ condition: RedisArgument? = nil
    ) async {
        var command: [RedisArgument] = [
            "SET", .string(key(tenant, socket)), value, "PX", .int(ttl.milliseconds),
        ]
        if let condition { command.append(condition) }
        _ = await attempt { try await $0.send(command) }
    }

    /// Asks Redis; `nil` when it is away, which is noted.
    private func attempt(
        _ call: @LoopActor (RedisClient) async throws -> RedisValue
    ) async -> RedisValue? {
        guard let redis else { return nil }
        do {
            return try await call(redis)
        } catch {
            Degradation.note("cache")
            return nil
        }
    }

    private func key(_ tenant: String, _ socket: String) -> String {
        "session:{\(tenant)}:\(socket)"
    }
}
