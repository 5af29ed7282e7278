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

@Suite("Bot parts")
struct BotTests {
    @Test("what a model wrote cannot call a channel, name a person or break a log")
    func inert() {
        let rows: [(String, String)] = [
            ("plain <b>text</b> & 1 < 2", "plain <b>text</b> & 1 < 2"),
            ("<!channel> <@U123> <#C1|x>", "&lt;!channel> &lt;@U123> &lt;#C1|x>"),
            (
                "<https://evil.example|bank> <MAILTO:a@b>",
                "&lt;https://evil.example|bank> &lt;MAILTO:a@b>"
            ),
            ("a\u{0}b\u{1b}[0m\u{7f}\u{85}c\td\r\ne\rf", "ab[0mc\td\ne\nf"),
            ("<", "<"), ("", ""), ("<<!here>", "<&lt;!here>"), ("👋🏽 chào", "👋🏽 chào"),
        ]
        for (written, shown) in rows { #expect(AIAnswer(text: written).text == shown) }
        let long = AIAnswer(text: String(repeating: "é", count: AIAnswer.lengthLimit + 5))
        #expect(long.text.count == AIAnswer.lengthLimit)
    }

    @Test("what nobody sees is no answer")
    func blank() {
        for text in ["", " ", "\n\t\u{A0}", "\u{200B}\u{FEFF}", "\u{0}\u{1b}"] {
            #expect(!AnswerText.isSeen(AIAnswer(text: text).text))
        }
        for text in [".", " a ", "👋🏽", "好"] { #expect(AnswerText.isSeen(text)) }
    }

    @Test("the marker of a handover is taken out, wherever it stands")
    func marker() {
        func reply(_ text: String) -> BotReply { BotReply(text, marker: "[[handover]]") }
        #expect(reply("hello") == BotReply("hello", marker: "-"))
        #expect(reply(" hello ").text == " hello ")
        #expect(reply("[[handover]]").text.isEmpty && reply("[[handover]]").asksForPerson)
        #expect(reply("One moment.\n[[handover]]\n").text == "One moment.")
        #expect(reply("a [[handover]] b [[handover]]").text == "a  b")
        #expect(!reply("[handover]").asksForPerson)
    }

    @Test("the pause before a retry doubles up to 8 s, and is never shorter than asked")
    func retryPause() {
        func pause(_ attempts: Int, _ asked: Duration? = nil, jitter: Double = 1) -> Duration {
            RetryPause.after(
                attempts: attempts,
                base: .milliseconds(500),
                asked: asked,
                jitter: jitter
            )
        }
        #expect(pause(1) == .milliseconds(500))
        #expect(pause(2) == .seconds(1))
        #expect(pause(3, jitter: 0) == .milliseconds(1500))
        #expect(pause(9) == .seconds(8) && pause(1000) == .seconds(8))
        #expect(pause(1, .seconds(30)) == .seconds(30))
        #expect(pause(3, .milliseconds(1)) == .seconds(2))
    }

    @Test("Retry-After may be a date")
    func retryDate() {
        #expect(RetryDate.milliseconds("Sun, 06 Nov 1994 08:49:37 GMT") == 784_111_777_000)
        for wrong in ["", "soon", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT"] {
            #expect(RetryDate.milliseconds(wrong) == nil)
        }
    }

    @Test("the defaults are those that were promised")
    @LoopActor func defaults() throws {
        let standard = try settings([
            "DEBOUNCE_MS": "", "AI_JOB_RETRY_MS": "", "AI_JOB_IDLE_MS": "",
        ])
        #expect(standard.debounce == .milliseconds(1500))
        #expect(standard.debounceMax == .seconds(10))
        #expect(standard.conversationLock == .seconds(300))
        #expect(standard.messageLock == .seconds(30))
        #expect(standard.bot.lease == .seconds(20) && standard.bot.heartbeat == .seconds(5))
        #expect(standard.bot.attemptsMax == 3 && standard.bot.supersedesMax == 2)
        #expect(standard.bot.configurationFresh == .seconds(60))
        #expect(standard.bot.configurationStale == .seconds(600))
        #expect(JobMirror.ttlSeconds == 3600 && AnalysisCache.ttlSeconds == 86_400)
        #expect(throws: (any Error).self) {
            try settings(["AI_JOB_LEASE_MS": "1000", "AI_JOB_HEARTBEAT_MS": "900"])
        }
    }

    @Test("a remembered answer is found only for exactly the same question")
    func cacheKey() throws {
        let secrets = try settings().service.secretBox
        func key(_ text: String, _ tenant: String = "t", _ core: JSON = [:]) throws -> String {
            let bot = try BotConfiguration(["core_ai": core], tenant: UUID(), secrets: secrets)
            let request = bot.request(
                [AITurn(role: .user, content: text)],
                consolidated: 1,
                jobID: UUID()
            )
            return AnalysisCache.key(tenant, request)
        }
        #expect(try key("a") == key("a"))
        #expect(try key("a").hasPrefix("ai:analysis:{t}:") && key("secret").count == 16 + 64)
        let others: [JSON] = [
            ["meta_data": ["provider": "openai"]], ["meta_data": ["model": "m"]],
            ["api_endpoint": "https://ai.example/v1"],
        ]
        let keys = try [key("a"), key("b"), key("a", "u")] + others.map { try key("a", "t", $0) }
        #expect(Set(keys).count == 6)
    }

    @Test("a lock's record holds ids and times, and is read back")
    func record() {
        let record = LockRecord(lockID: "l", instance: "i", job: "j", takenAt: 7)
        #expect(record.text == #"{"t":"l","o":"i","j":"j","at":7}"#)
        #expect(LockRecord(record.text) == record)
        #expect(LockRecord("1") == nil && LockRecord("{}") == nil && LockRecord("") == nil)
    }

    @Test("the default bot answers in the name of document 004, and says where it comes from")
    func standard() throws {
        let secrets = try settings().service.secretBox
        var bot = try BotConfiguration([:], tenant: UUID(), secrets: secrets)
        #expect(bot.name == "Healthcare Assistant" && bot.language == "vi" && bot.answers)
        #expect(bot.core.provider == "simulated" && !bot.remembersAnswers)
        let started = JobStart.started(job: "j", lockID: "l", consolidated: 1)
        #expect(MessageHandler.answer(started, bot)["config_source"] == nil)
        bot.source = .standard
        #expect(MessageHandler.answer(started, bot)["config_source"] == "default")
    }
}

@Suite("Message lock")
struct MessageLockTests {
    @Test("the lock of a message lasts 30 s at most, and only its owner frees it")
    @LoopActor func lasts() async throws {
        let store = MemoryLockStore()
        let lock = MessageLock(store: store, ttl: try settings().messageLock)
        let message = UUID()
        let key = "lock:message:\(message.uuidString.lowercased())"
        let hold = await lock.acquire(message)
        let holder = try #require(try await store.holder(of: key))
        #expect(holder.remaining <= .seconds(30) && holder.remaining > .seconds(29))
        let second = await lock.acquire(message)
        guard case .taken = second else { return #expect(Bool(false), "two hold it") }
        await lock.release(second)
        await lock.release(.held(HeldLock(key: key, value: "somebody else's")))
        #expect(try await store.holder(of: key) != nil)
        await lock.release(hold)
        #expect(try await store.holder(of: key) == nil)
    }

    @Test("one whose holder was killed is free after its time")
    @LoopActor func expires() async throws {
        let time = Guarded(MonotonicTime(nanoseconds: 1_000_000_000))
        let store = MemoryLockStore { time.withLock { $0 } }
        let lock = MessageLock(store: store, ttl: try settings().messageLock)
        let message = UUID()
        _ = await lock.acquire(message)
        time.withLock { $0 = $0 + .seconds(29) }
        guard case .taken = await lock.acquire(message) else {
            return #expect(Bool(false), "free too early")
        }
        time.withLock { $0 = $0 + .seconds(2) }
        guard case .held = await lock.acquire(message) else {
            return #expect(Bool(false), "never free")
        }
    }
}

@Suite("Conversation lock")
struct MessageLockManagerTests {
    /// A store that does not answer.
    @LoopActor
    final class Away: LockStore {
        nonisolated init() {}
        static let error = CoordinationError(operation: "lock", message: "away")
        func acquire(
            _ key: String,
            value: String,
            ttl: Duration
        ) async throws(CoordinationError) -> Bool { throw Away.error }
        func release(_ key: String, value: String) async throws(CoordinationError) -> Bool {
            throw Away.error
        }
        func renew(
            _ key: String,
            value: String,
            ttl: Duration
        ) async throws(CoordinationError) -> Bool { throw Away.error }
        func replace(
            _ key: String,
            value: String,
            with newValue: String
        ) async throws(CoordinationError) -> Bool { throw Away.error }
        func holder(of key: String) async throws(CoordinationError) -> LockHolder? {
            throw Away.error
        }
        func keys(
            beginningWith prefix: String,
            limit: Int
        ) async throws(CoordinationError) -> [String] { throw Away.error }
    }

    @LoopActor
    func manager(_ stores: [any LockStore]) throws -> MessageLockManager {
        let configuration = try settings()
        return MessageLockManager(
            stores: stores,
            ttl: configuration.conversationLock,
            instance: "messaging-test",
            jobs: AIJobRepository(postgres: .init(configuration.service.postgres))
        )
    }

    static let caller = Caller(tenant: UUID(), code: "t", actor: "a", requestID: "r")

    @Test("one takes the lock, others learn who has it; only its owner links it to a job")
    @LoopActor func takes() async throws {
        let store = MemoryLockStore()
        let manager = try manager([store])
        let conversation = UUID()
        let caller = MessageLockManagerTests.caller
        guard
            case .acquired(let record) = try await manager.checkAndAcquireLock(caller, conversation)
        else { return #expect(Bool(false), "it is free") }
        let job = UUID()
        var other = record
        other = LockRecord(lockID: "x", instance: other.instance, job: nil, takenAt: other.takenAt)
        #expect(await !manager.updateLockWithAIJob("t", conversation, other, job: job))
        #expect(await manager.updateLockWithAIJob("t", conversation, record, job: job))
        guard case .exists(let info) = try await manager.checkAndAcquireLock(caller, conversation)
        else { return #expect(Bool(false), "two hold it") }
        #expect(info.lockID == record.lockID && info.job == job.uuidString.lowercased())
        #expect(info.holder == "messaging-test")
        #expect(try #require(info.remaining) <= .seconds(300))
        await manager.releaseLock(tenant: "t", conversation: conversation, lockID: "x")
        #expect(
            await manager.isHeld(tenant: "t", conversation: conversation, lockID: record.lockID)
        )
        await manager.releaseLock(tenant: "t", conversation: conversation, lockID: record.lockID)
        guard case .acquired = try await manager.checkAndAcquireLock(caller, conversation)
        else { return #expect(Bool(false), "it was freed") }
    }

    @Test("memory stands in where the shared store does not answer; without it nothing does")
    @LoopActor func falls() async throws {
        let caller = MessageLockManagerTests.caller
        let conversation = UUID()
        let alone = try manager([Away(), MemoryLockStore()])
        guard case .acquired(let record) = try await alone.checkAndAcquireLock(caller, conversation)
        else { return #expect(Bool(false), "memory has it") }
        guard case .exists = try await alone.checkAndAcquireLock(caller, conversation)
        else { return #expect(Bool(false), "two hold it") }
        await alone.releaseLock(tenant: "t", conversation: conversation, lockID: record.lockID)
        guard case .acquired = try await alone.checkAndAcquireLock(caller, conversation)
        else { return #expect(Bool(false), "it was freed") }
        let shared = try manager([Away()])
        await #expect(throws: (any Error).self) {
            try await shared.checkAndAcquireLock(caller, conversation)
        }
    }
}

@Suite("Bot configuration", .serialized, .needsPostgres)
struct BotConfigServiceTests {
    @LoopActor
    private func service(
        _ postgres: PostgresClient,
        staleFor: Duration
    ) throws -> BotConfigService {
        BotConfigService(
            settings: ConfigurationRepository(
                postgres: postgres,
                secrets: try settings().service.secretBox
            ),
            logger: Logger(label: "test"),
            freshFor: .milliseconds(20),
            staleFor: staleFor
        )
    }

    @Test("what nobody asks for is forgotten; what is asked for is not")
    @LoopActor func forgets() async throws {
        try await SchemaDatabase.with { postgres in
            let world = try await RollbackTests.world(postgres)
            let service = try service(postgres, staleFor: .milliseconds(300))
            let (caller, conversation) = (world.caller, world.conversation)
            _ = try await service.getBotConfig(caller, conversation)
            #expect(service.remembered == 2)
            let end = MonotonicTime.now() + .milliseconds(600)
            while MonotonicTime.now() < end {
                _ = try await service.getBotConfig(caller, conversation)
                #expect(service.remembered == 2)
                try await EventLoop.shared.sleep(for: .milliseconds(20))
            }
            let deadline = MonotonicTime.now() + .seconds(10)
            while service.remembered > 0, MonotonicTime.now() < deadline {
                try await EventLoop.shared.sleep(for: .milliseconds(20))
            }
            #expect(service.remembered == 0)
        }
    }

    @Test("a change made elsewhere holds once what was read is no longer fresh")
    @LoopActor func changesElsewhere() async throws {
        try await SchemaDatabase.with { postgres in
            let world = try await RollbackTests.world(postgres)
            let service = try service(postgres, staleFor: .seconds(600))
            let (caller, conversation) = (world.caller, world.conversation)
            let before = try await service.getBotConfig(caller, conversation)
            #expect(before?.name == BotConfiguration.defaultName)
            let bot = UUID()
            _ = try await postgres.query(
                "insert into messaging.bots (tenant_id, id, name) values ($1, $2, 'New')",
                [.uuid(caller.tenant), .uuid(bot)]
            )
            _ = try await postgres.query(
                "update messaging.conversations set bot_id = $2 where id = $1",
                [.uuid(conversation), .uuid(bot)]
            )
            let deadline = MonotonicTime.now() + .seconds(10)
            var name = before?.name
            while name != "New", MonotonicTime.now() < deadline {
                try await EventLoop.shared.sleep(for: .milliseconds(10))
                name = try await service.getBotConfig(caller, conversation)?.name
            }
            #expect(name == "New")
        }
    }
}
