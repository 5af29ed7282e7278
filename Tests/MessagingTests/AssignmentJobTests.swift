import Coordination
import EventLoop
import Foundation
import HTTPServer
import JSON
import JobQueue
import Logging
import PostgresClient
import Testing

@testable import messaging

@Suite("Jobs of auto-assign", .needsPostgres)
struct AssignmentJobTests {
    static let job = AssignmentJob(message: UUID(), room: UUID(), tenant: UUID())

    @Test("a job names message, room and tenant, and carries nothing else")
    func payload() throws {
        let made = Self.job.newJob()
        #expect(made.name == "auto-assign-message")
        let data = try JSON(parsing: Array(made.data.utf8))
        #expect(try AssignmentJob(data) == Self.job)
        #expect(data.objectValue?.members.count == 3)
        #expect(made.options.id == Self.job.message.uuidString.lowercased())
    }

    @Test(
        "a job that is none, or brings more than names, is refused",
        arguments: [
            "[]", "{}", #"{"messageId": "x", "roomId": "x", "tenantId": "x"}"#,
            #"{"messageId": "018f0000-0000-7000-8000-000000000001"}"#,
        ]
    )
    func malformed(_ text: String) throws {
        let data = try JSON(parsing: Array(text.utf8))
        #expect(throws: (any Error).self) { try AssignmentJob(data) }
    }

    @Test("what is being processed is known by the lock, and without Redis by the database")
    @LoopActor func isMessageBeingProcessed() async throws {
        try await SchemaDatabase.with { postgres in
            let store = MemoryLockStore()
            let messages = MessageRepository(postgres: postgres)
            let caller = Caller(tenant: UUID(), code: "t", actor: "a", requestID: "r")
            let message = UUID()
            @LoopActor func useCase(
                _ store: (any LockStore)?,
                ttl: Duration
            ) -> AutoAssignMessageUseCase {
                AutoAssignMessageUseCase(
                    messages: messages,
                    limiter: RoomLimiter(limiter: nil, limit: 10, window: .seconds(60)),
                    lock: MessageLock(store: store, ttl: ttl),
                    queue: ConversationQueue(),
                    logger: Logger(label: "test"),
                    committed: { _, _ in }
                )
            }
            let locked = useCase(store, ttl: .seconds(30))
            #expect(await !locked.isMessageBeingProcessed(caller, message))
            let lock = MessageLock(store: store, ttl: .seconds(30))
            let hold = await lock.acquire(message)
            #expect(await locked.isMessageBeingProcessed(caller, message))
            await lock.release(hold)
            #expect(await !locked.isMessageBeingProcessed(caller, message))

            // No store: the database says so, and no longer than the lock would have lasted.
            let open = useCase(nil, ttl: .milliseconds(200))
            try await messages.beginProcessing(caller, message, ttl: .milliseconds(200))
            #expect(await open.isMessageBeingProcessed(caller, message))
            let deadline = MonotonicTime.now() + .seconds(10)
            while await open.isMessageBeingProcessed(caller, message),
                MonotonicTime.now() < deadline
            {
                try await EventLoop.shared.sleep(for: .milliseconds(20))
            }
            #expect(await !open.isMessageBeingProcessed(caller, message))

            // A use case that ends, well or not, leaves nothing.
            await #expect(throws: Problem.self) {
                try await useCase(nil, ttl: .seconds(30)).execute(caller, message: message)
            }
            #expect(await !open.isMessageBeingProcessed(caller, message))
        }
    }
}
