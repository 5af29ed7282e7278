internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging
internal import Platform
internal import PostgresClient
internal import RedisClient
internal import Telemetry

/// Conversations that get a person as soon as the database is back.
///
/// While it is away and no bot may answer, nobody can be asked at once. The wish is kept in Redis, in
/// the hash `handover:wanted`, where any process fulfils it, and in the memory of the process that
/// took it, should Redis lose it meanwhile. The conversation's row decides who asks: a wish that is
/// fulfilled twice asks once.
@LoopActor
final class LateHandovers {
    /// One hash for all tenants: it is a list of work, looked through as a whole.
    static let key = "handover:wanted"
    /// Wishes that wait at once, in Redis and in one process; further ones are refused.
    static let limit = 10_000
    /// Wishes that one look takes.
    static let batch: Int64 = 100

    /// A conversation, and who wanted it handed over.
    struct Wish: Sendable {
        let caller: Caller
        let conversation: UUID
        var field: String { "\(caller.tenant.text)/\(conversation.text)" }
        var value: String {
            let document: JSON = [
                "tenant": .string(caller.code), "actor": .string(caller.actor),
                "request": .string(caller.requestID),
            ]
            return document.text
        }

        init(_ caller: Caller, _ conversation: UUID) {
            self.caller = caller
            self.conversation = conversation
        }

        /// Reads what ``field`` and ``value`` wrote; `nil` when it is none of ours.
        init?(field: String, value: String) {
            let ids = field.split(separator: "/").map { UUID(text: String($0)) }
            guard ids.count == 2, let tenant = ids[0], let conversation = ids[1],
                let document = try? JSON(parsing: Array(value.utf8)),
                let code = document["tenant"]?.stringValue,
                let actor = document["actor"]?.stringValue,
                let request = document["request"]?.stringValue
            else { return nil }
            caller = Caller(tenant: tenant, code: code, actor: actor, requestID: request)
            self.conversation = conversation
        }
    }

    private let postgres: PostgresClient
    private let redis: RedisClient?
    private let isAlone: Bool
    private let interval: Duration
    private let logger: Logger
    private let asked: @LoopActor (Wish, _ cancelled: UUID?) async -> Void
    private var own: [String: Wish] = [:]
    private lazy var looks = RepeatedWork(every: interval) { [weak self] in await self?.look() }

    /// - Parameters:
    ///   - isAlone: whether the memory of this process may keep a wish by itself.
    ///   - interval: between two looks.
    ///   - asked: called when a person was asked for, with the job that this cancelled.
    init(
        postgres: PostgresClient,
        redis: RedisClient?,
        isAlone: Bool,
        interval: Duration,
        logger: Logger,
        asked: @escaping @LoopActor (Wish, _ cancelled: UUID?) async -> Void
    ) {
        self.postgres = postgres
        self.redis = redis
        self.isAlone = isAlone
        self.interval = interval
        self.logger = logger
        self.asked = asked
    }

    /// Looks at once, and then again and again.
    func start() { looks.start(after: .zero) }

    /// Waits for the look that is under way.
    func stop() async { await looks.end() }

    /// Keeps the wish that a conversation gets a person.
    ///
    /// - Throws: a 503 when nothing can keep it.
    func want(_ wish: Wish) async throws {
        let isKept = await keep(wish)
        guard isKept || isAlone, own.count < LateHandovers.limit else {
            throw Problem.unavailable(
                "the database is away, no default bot may answer, and nothing keeps the handover"
            )
        }
        own[wish.field] = wish
    }

    private func keep(_ wish: Wish) async -> Bool {
        guard let redis else { return false }
        let key = RedisArgument.string(LateHandovers.key)
        do {
            guard try await redis.send(["HLEN", key]).integer ?? 0 < LateHandovers.limit else {
                return false
            }
            _ = try await redis.send(["HSET", key, .string(wish.field), .string(wish.value)])
            return true
        } catch {
            Degradation.note("late_handover")
            return false
        }
    }

    private func look() async {
        do {
            for wish in await wishes() { try await fulfil(wish) }
        } catch {
            logger.warning("late handovers wait", metadata: ["reason": "\(error)"])
        }
    }

    /// Some of those that wait, whoever took them.
    private func wishes() async -> [Wish] {
        var found = Array(own.values.prefix(Int(LateHandovers.batch)))
        guard let redis, redis.isConnected else { return found }
        do {
            let reply = try await redis.send([
                "HRANDFIELD", .string(LateHandovers.key), .int(LateHandovers.batch), "WITHVALUES",
            ])
            let words = (reply.array ?? []).compactMap(\.text)
            for index in stride(from: 0, to: words.count - 1, by: 2) {
                if let wish = Wish(field: words[index], value: words[index + 1]) {
                    if own[wish.field] == nil { found.append(wish) }
                } else {
                    await drop(words[index])
                }
            }
        } catch {
            Degradation.note("late_handover")
        }
        return found
    }

    private func fulfil(_ wish: Wish) async throws {
        let row = try await postgres.query(
            "select * from messaging.hand_over_late($1, $2, $3, $4, $5)",
            [
                .uuid(wish.caller.tenant), .string(wish.caller.code), .uuid(wish.conversation),
                .string(wish.caller.actor), .string(wish.caller.requestID),
            ]
        ).one()
        if try row.string("outcome") == "asked" {
            await asked(wish, try row.optionalUUID("job"))
        }
        own[wish.field] = nil
        await drop(wish.field)
    }

    private func drop(_ field: String) async {
        guard let redis else { return }
        do {
            _ = try await redis.send(["HDEL", .string(LateHandovers.key), .string(field)])
        } catch {
            // It is fulfilled again, which changes nothing, and then dropped.
            Degradation.note("late_handover")
        }
    }
}
