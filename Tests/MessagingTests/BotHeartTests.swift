import Coordination
import EventLoop
import Foundation
import JSON
import Logging
import Platform
import PostgresClient
import Testing

@testable import messaging

@Suite("Locks of jobs that end")
struct BotHeartTests {
    /// Memory in which something happens just before a lock is taken.
    @LoopActor
    final class Interrupted: LockStore {
        let memory = MemoryLockStore()
        var before: (@LoopActor () async -> Void)?
        nonisolated init() {}

        func acquire(
            _ key: String,
            value: String,
            ttl: Duration
        ) async throws(CoordinationError) -> Bool {
            await before?()
            return try await memory.acquire(key, value: value, ttl: ttl)
        }
        func release(_ key: String, value: String) async throws(CoordinationError) -> Bool {
            try await memory.release(key, value: value)
        }
        func renew(
            _ key: String,
            value: String,
            ttl: Duration
        ) async throws(CoordinationError) -> Bool {
            try await memory.renew(key, value: value, ttl: ttl)
        }
        func replace(
            _ key: String,
            value: String,
            with newValue: String
        ) async throws(CoordinationError) -> Bool {
            try await memory.replace(key, value: value, with: newValue)
        }
        func holder(of key: String) async throws(CoordinationError) -> LockHolder? {
            try await memory.holder(of: key)
        }
        func keys(
            beginningWith prefix: String,
            limit: Int
        ) async throws(CoordinationError) -> [String] {
            try await memory.keys(beginningWith: prefix, limit: limit)
        }
    }

    @LoopActor
    struct World {
        let store = Interrupted()
        let locks: MessageLockManager
        let running = RunningJobs()
        let heart: BotHeart
        let work: JobWork

        init() throws {
            let configuration = try settings()
            let postgres = PostgresClient(configuration.service.postgres)
            locks = MessageLockManager(
                stores: [store],
                ttl: .seconds(300),
                instance: "messaging-test",
                jobs: AIJobRepository(postgres: postgres)
            )
            heart = BotHeart(
                jobs: BotJobs(postgres: postgres, settings: configuration.bot, worker: "w"),
                running: running,
                locks: locks,
                logger: Logger(label: "test")
            )
            work = try JobWork(
                [
                    "id": .string(UUID().text), "tenant_id": .string(UUID().text), "tenant": "t",
                    "conversation_id": .string(UUID().text), "lock_id": "l", "fence": 1,
                ],
                secrets: configuration.service.secretBox
            )
        }

        func holder() async throws -> LockHolder? {
            try await store.holder(of: MessageLockManager.key("t", work.conversationID))
        }
    }

    @Test("a sign of life shows the lock of a job that runs")
    @LoopActor func shows() async throws {
        let world = try World()
        world.running.begin(world.work, isSupersedable: true) {}
        let entry = try #require(world.running.all.first)
        await world.heart.keepLock(of: entry)
        #expect(try await world.holder() != nil)
    }

    @Test("a job that ends during a sign of life leaves no lock behind", arguments: [true, false])
    @LoopActor func leavesNone(byItself: Bool) async throws {
        let world = try World()
        world.running.begin(world.work, isSupersedable: true) {}
        let entry = try #require(world.running.all.first)
        world.store.before = {
            let work = world.work
            byItself ? world.running.willRelease(work) : world.running.abort(work.id)
            await world.locks.releaseLock(
                tenant: "t",
                conversation: work.conversationID,
                lockID: work.lockID
            )
        }
        await world.heart.keepLock(of: entry)
        #expect(try await world.holder() == nil)
        // And the next sign shows none, either.
        await world.heart.keepLock(of: entry)
        #expect(try await world.holder() == nil)
    }
}
