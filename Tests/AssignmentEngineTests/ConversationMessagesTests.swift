import Coordination
import EventLoop
import Foundation
import JSON
import Platform
import Testing

@testable import assignment_engine

/// What is said in a conversation is told late, more than once and beside other changes.
@Suite("Messages of a conversation", needsDatabase)
struct ConversationMessagesTests {
    /// A session that somebody has, and when that began.
    @LoopActor private struct Owned {
        let store: TestStore
        let session: UUID
        let conversation: UUID
        let since: Int64
        let owner: UUID

        init(_ store: TestStore, _ policy: JSON = [:]) async throws {
            let team = try await store.team(policy)
            owner = try await store.agent(in: team)
            let engine = store.engine(InMemoryRoundRobinContextProvider())
            let document = try await store.handOver(engine, team: team).session.document
            self.store = store
            session = try #require(document["id"]?.uuidValue)
            conversation = try #require(document["conversation_id"]?.uuidValue)
            since = at(document["assigned_at"]?.stringValue ?? "")
        }

        /// Whether it queues again for that.
        func hears(_ sender: Sender, after seconds: Int64) async throws -> Bool {
            try await store.sessions.messageCame(
                store.tenant.code,
                conversation,
                sender,
                at: since + seconds * 1000
            ) != nil
        }

        func isAnswered() async throws -> Bool {
            let mine = "assignment.sessions s where tenant_id = $1 and id = '\(session)'"
            return try await store.count("\(mine) and assignment.is_answered(s)") == 1
        }
    }

    @Test(
        "an agent's message answers, a contact's asks again; told late or twice they change nothing"
    )
    @LoopActor func order() async throws {
        let owned = try await Owned(try await TestStore.open())
        // Of whoever had it before.
        _ = try await owned.hears(.agent, after: -1)
        #expect(try await !owned.isAnswered())
        _ = try await owned.hears(.contact, after: 1)
        #expect(try await !owned.isAnswered())
        _ = try await owned.hears(.agent, after: 10)
        #expect(try await owned.isAnswered())
        _ = try await owned.hears(.contact, after: 5)
        #expect(try await owned.isAnswered())
        _ = try await owned.hears(.contact, after: 20)
        #expect(try await !owned.isAnswered())
        _ = try await owned.hears(.agent, after: 15)
        #expect(try await !owned.isAnswered())
        _ = try await owned.hears(.agent, after: 30)
        #expect(try await owned.isAnswered())
        _ = try await owned.hears(.contact, after: 20)
        #expect(try await owned.isAnswered())
    }

    @Test(
        "a contact's message takes a session from an owner who is gone, but for teams that keep it",
        arguments: ["requeue_unanswered", "requeue_on_reply", "keep"]
    )
    @LoopActor func gone(wish: String) async throws {
        let store = try await TestStore.open()
        let owned = try await Owned(store, ["on_offline": .string(wish)])
        _ = try await owned.hears(.agent, after: 10)
        #expect(try await !owned.hears(.contact, after: 20))
        try await store.status(owned.owner, "offline")
        // What the agent answered before is no reason.
        #expect(try await !owned.hears(.agent, after: 30))
        if wish == "requeue_unanswered" {
            #expect(try await !owned.hears(.contact, after: 25))
        }
        #expect(try await owned.hears(.contact, after: 40) == (wish != "keep"))
        #expect(try await !owned.hears(.contact, after: 40))
        try await store.expectTrue(cap: 1000)
    }

    @Test("an offer is accepted by nobody's words")
    @LoopActor func offered() async throws {
        let store = try await TestStore.open()
        let owned = try await Owned(store, ["offer_timeout_s": 60])
        _ = try await owned.hears(.agent, after: 10)
        let offered = "assignment.sessions where tenant_id = $1 and state = 'offered'"
        #expect(try await store.count("\(offered) and replied_at is null") == 1)
    }
}
