import Domain
import EventLoop
import Foundation
import JSON
import Platform
import PostgresClient
import Testing

@testable import messaging

/// What is said out while the message that it answers has no thread yet.
@Suite("What follows a message without a thread", .serialized, .needsPostgres)
struct FollowersTests {
    /// A conversation, and a message of its contact's that waits for its thread where one is there.
    @LoopActor
    private struct Room {
        let postgres: PostgresClient
        let world: MailboxWorld
        let messages: MessageRepository

        init(_ postgres: PostgresClient) async throws {
            self.postgres = postgres
            world = try await RollbackTests.world(postgres)
            // A channel that takes no long answers.
            _ = try await postgres.query("update messaging.channels set kind = 'slack'")
            messages = MessageRepository(postgres: postgres)
        }

        /// The contact writes, and the message is left to a timer.
        func asks(_ text: String) async throws -> UUID {
            try await world.says(text)
            let id = try await postgres.query(
                """
                with waits as (
                  update messaging.messages set thread_id = null, thread_state = 'deferred',
                         method = null, score = null
                   where conversation_id = $1 and text = $2 returning tenant_id, id)
                select id, platform.set_timer('messaging', tenant_id, 't', 'rate_deferred', id, 0,
                  now() + interval '1 min', '{}') from waits
                """,
                [.uuid(world.conversation), .string(text)]
            ).one().uuid("id")
            _ = try await postgres.query("delete from messaging.threads")
            return id
        }

        /// An agent answers; the ids of the answer's messages.
        @discardableResult
        func replies(_ text: String) async throws -> [UUID] {
            let outcome = try await messages.reply(
                world.caller,
                NewReply(
                    conversation: world.conversation,
                    sender: Sender(kind: .agent, id: "anna"),
                    text: text,
                    thread: nil,
                    key: nil
                )
            )
            let parts = try JSON(parsing: outcome.answer)["messages"]?.arrayValue ?? []
            return parts.compactMap { $0["id"]?.uuidValue }
        }

        /// The message gets its thread, as its timer would give it one.
        @discardableResult
        func assign(_ message: UUID, _ text: String) async throws -> String {
            let known = try #require(await messages.snapshot(world.caller, message))
            let snapshot = ThreadSnapshot(known["snapshot"] ?? .null)
            return try await messages.assign(
                world.caller,
                message,
                text: text,
                features: TextFeatures(text, author: "c"),
                PlacedChoice(
                    choice: ThreadChoice.choose(
                        explicit: nil,
                        replyThread: nil,
                        features: TextFeatures(text, author: "c"),
                        threads: snapshot.threads,
                        now: snapshot.now
                    ),
                    version: snapshot.version,
                    isForced: true
                )
            ).outcome.name
        }

        func count(_ condition: String) async throws -> Int {
            try await postgres.query(
                "select count(*) n from messaging.messages where \(condition)"
            ).one().int("n")
        }

        /// The messages that timers will bring to a thread.
        func timed() async throws -> Set<UUID> {
            let rows = try await postgres.query(
                "select ref_id from platform.timers where kind = 'rate_deferred'"
            )
            return Set(try rows.map { try $0.uuid("ref_id") })
        }
    }

    static let long = String(repeating: "The invoice is on its way to you. ", count: 400)

    @Test("an agent's reply and a bot's answer get the thread of what they answer, with it")
    @LoopActor func together() async throws {
        try await SchemaDatabase.with { postgres in
            let room = try await Room(postgres)
            let message = try await room.asks("where is my invoice")
            let parts = try await room.replies(FollowersTests.long)
            #expect(parts.count > 1)
            try await room.world.claims(0)
            try await room.world.answersNow()
            let said = try await room.count("direction = 'out'")
            #expect(said > parts.count)
            #expect(try await room.count("thread_id is null") == said + 1)
            #expect(try await room.assign(message, "where is my invoice") == "assigned")
            #expect(try await room.count("thread_id is null") == 0)
            #expect(try await room.count("direction = 'out' and method = 'reply'") == said)
            #expect(try await room.timed().isEmpty)
            let thread = try await postgres.query(
                """
                select message_count n, cardinality(recent_terms) terms from messaging.threads
                """
            ).one()
            #expect(try thread.int("n") == said + 1)
            #expect(try thread.int("terms") == said + 1)
            #expect(try await room.count("waiting is not null or follows is not null") == 0)
            let told = try await postgres.query(
                "select count(*) n from platform.outbox where target = 'message.assigned'"
            ).one().int("n")
            // Once when it was written, before it was made to wait.
            #expect(told == said + 2)
        }
    }

    @Test("a reply where no contact has written gets a thread by a timer, all its parts the same")
    @LoopActor func alone() async throws {
        try await SchemaDatabase.with { postgres in
            let room = try await Room(postgres)
            let parts = try await room.replies(FollowersTests.long)
            #expect(parts.count > 1)
            #expect(try await room.timed() == [parts[0]])
            #expect(try await room.assign(parts[0], "The invoice") == "assigned")
            #expect(try await room.count("thread_id is null") == 0)
            let threads = try await postgres.query(
                "select count(distinct thread_id) n from messaging.messages"
            ).one().int("n")
            #expect(threads == 1)
        }
    }

    @Test("what followed a message that is deleted does not wait for it")
    @LoopActor func deleted() async throws {
        try await SchemaDatabase.with { postgres in
            let room = try await Room(postgres)
            let message = try await room.asks("where is my invoice")
            let first = try await room.replies("on its way")
            let second = try await room.replies("and paid")
            #expect(try await room.timed() == [message])
            _ = try await ThreadCorrection(threads: ThreadRepository(postgres: postgres))
                .change(room.world.caller, message: message, text: nil)
            #expect(try await room.timed() == Set(first))
            try await room.assign(first[0], "on its way")
            #expect(try await room.count("id = '\(second[0])' and thread_id is not null") == 1)
            // Nor does what is said after it.
            let third = try await room.replies("anything else?")
            #expect(try await room.timed() == Set(third))
        }
    }

    @Test("a message that is moved by hand takes along what followed it")
    @LoopActor func moved() async throws {
        try await SchemaDatabase.with { postgres in
            let room = try await Room(postgres)
            let threads = ThreadRepository(postgres: postgres)
            let message = try await room.asks("where is my invoice")
            try await room.replies("on its way")
            let made = try await threads.create(
                room.world.caller,
                in: room.world.conversation,
                title: "Invoices"
            )
            let thread = try #require(JSON(parsing: made.answer)["id"]?.uuidValue)
            _ = try await ThreadCorrection(threads: threads).execute(
                room.world.caller,
                ThreadReshape(
                    kind: .move,
                    thread: thread,
                    into: nil,
                    messages: [message],
                    title: nil
                )
            )
            #expect(try await room.count("thread_id = '\(thread)'") == 2)
        }
    }

    @Test("one assignment takes 200 along; the rest comes by timers, into the same thread")
    @LoopActor func many() async throws {
        try await SchemaDatabase.with { postgres in
            let room = try await Room(postgres)
            let message = try await room.asks("where is my invoice")
            for number in 0..<203 { try await room.replies("answer \(number)") }
            try await room.assign(message, "where is my invoice")
            #expect(try await room.count("thread_id is not null") == 201)
            let next = try await room.timed()
            #expect(next.count == 1)
            for message in next { try await room.assign(message, "zebra") }
            #expect(try await room.count("thread_id is null") == 0)
            let used = try await postgres.query(
                "select count(distinct thread_id) n from messaging.messages"
            ).one().int("n")
            #expect(used == 1)
        }
    }
}
