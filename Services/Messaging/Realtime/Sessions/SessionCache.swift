internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import RedisClient
internal import Telemetry

/// Sessions in Redis (`session:{tenant}:<socket>`), so that a frame of a socket needs no SQL.
///
/// An entry is `<checked> <made> <id> <document>`: when its row was last looked at (milliseconds of
/// Redis), when the session was made, and its own id. After ``UserSessionService/checkInterval`` the
/// row is looked at again, whose end that puts off. A session that ended leaves a mark in its place for
/// a moment, `- <made> <id>`: a slow reader, which found the row before it went, puts nothing over it.
/// Whatever is late, a session never takes the place of one of the same socket that came after it.
@LoopActor
struct SessionCache {
    /// How long the mark stays: longer than any read of the row takes.
    static let markTTL: Duration = .seconds(60)

    let redis: RedisClient?

    /// KEYS[1] the session; ARGV[1] milliseconds that an entry lasts, ARGV[2] that its check is good
    /// for.
    ///
    /// Returns the document and puts its end off, `-` for one that ended a moment ago, nil when the
    /// row must be looked at.
    private static let reading = RedisScript(
        """
        local value = redis.call('GET', KEYS[1])
        if not value then return false end
        if value:sub(1, 2) == '- ' then return '-' end
        local checked, document = value:match('^(%d+) %S+ %S+ (.*)$')
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        if not checked or now - checked >= tonumber(ARGV[2]) then return false end
        redis.call('PEXPIRE', KEYS[1], ARGV[1])
        return document
        """
    )

    /// KEYS[1] the session; ARGV[1] when it was made, ARGV[2] its id, ARGV[3] milliseconds, ARGV[4]
    /// its document, or `-` when it ended.
    ///
    /// Returns 1, or 0 when nothing was put: another session came after it, or it has ended.
    private static let writing = RedisScript(
        """
        local value = redis.call('GET', KEYS[1]) or ''
        local checked, made, id = value:match('^(%S+) (%S+) (%S+)')
        if made and made > ARGV[1] then return 0 end
        local ends = ARGV[4] == '-'
        if made and not ends and checked == '-' and id == ARGV[2] then return 0 end
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local entry = (ends and '-' or string.format('%.0f', now)) .. ' ' .. ARGV[1] .. ' ' .. ARGV[2]
        if not ends then entry = entry .. ' ' .. ARGV[4] end
        redis.call('SET', KEYS[1], entry, 'PX', ARGV[3])
        return 1
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
                    .int(UserSessionService.ttl.milliseconds),
                    .int(UserSessionService.checkInterval.milliseconds),
                ]
            )
        }
        let lookup: Lookup =
            switch reply?.bytes {
            case nil: .unknown
            case let bytes? where bytes == Array("-".utf8): .gone
            case let bytes?: .found(bytes)
            }
        let metrics = CacheMetrics.of("session")
        (reply?.bytes == nil ? metrics.misses : metrics.hits).increment()
        return lookup
    }

    /// Puts what the row was just found to be.
    func put(_ tenant: String, _ socket: String, _ document: [UInt8]) async {
        await write(tenant, socket, document, .bytes(document), UserSessionService.ttl)
    }

    /// Puts the mark of one that ended.
    func forget(_ tenant: String, _ socket: String, _ document: [UInt8]) async {
        await write(tenant, socket, document, .string("-"), SessionCache.markTTL)
    }

    private func write(
        _ tenant: String,
        _ socket: String,
        _ document: [UInt8],
        _ value: RedisArgument,
        _ ttl: Duration
    ) async {
        guard let session = try? JSON(parsing: document),
            let made = session["created_at"]?.stringValue,
            let id = session["session_id"]?.stringValue
        else { return }
        _ = await attempt { redis in
            try await redis.run(
                SessionCache.writing,
                keys: [key(tenant, socket)],
                arguments: [.string(made), .string(id), .int(ttl.milliseconds), value]
            )
        }
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
