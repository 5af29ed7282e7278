import Coordination
import EventLoop
import Foundation
import JSON
import Platform
import PostgresClient
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
        func hears(
            _ sender: Sender,
            _ agent: UUID? = nil,
            after seconds: Int64
        ) async throws -> Bool {
            try await store.sessions.messageCame(
                Said(
                    tenant: store.tenant.code,
                    conversation: conversation,
                    sender: sender,
                    agent: agent,
                    at: since + seconds * 1000
                )
            ) != nil
        }

        /// Whether it is as the condition has it.
        func matches(_ condition: String) async throws -> Bool {
            let mine = "assignment.sessions s where tenant_id = $1 and id = '\(session)'"
            return try await store.count("\(mine) and \(condition)") == 1
        }

        func isAnswered() async throws -> Bool { try await matches("assignment.is_answered(s)") }
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

    @Test("an offer is accepted by the words of the agent who has it, and of nobody else")
    @LoopActor func offered() async throws {
        let store = try await TestStore.open()
        let owned = try await Owned(store, ["offer_timeout_s": 60])
        let other = try await store.agent(in: store.team([:]))
        _ = try await owned.hears(.agent, after: 10)
        _ = try await owned.hears(.agent, other, after: 10)
        _ = try await owned.hears(.contact, owned.owner, after: 10)
        _ = try await owned.hears(.agent, owned.owner, after: -10)
        #expect(try await owned.matches("state = 'offered' and replied_at is null"))
        _ = try await owned.hears(.agent, owned.owner, after: 10)
        #expect(try await owned.matches("state = 'assigned' and replied_at is not null"))
        try await store.expectTrue(cap: 1000)
    }

    @Test(
        "what waits belongs to the agent who writes first, once, where the team wants that",
        arguments: [true, false]
    )
    @LoopActor func firstReply(isWanted: Bool) async throws {
        let store = try await TestStore.open()
        let owned = try await Owned(store, ["claim_on_first_reply": .bool(isWanted)])
        let other = try await store.agent(in: store.team([:]))
        try await store.status(owned.owner, "offline")
        #expect(try await owned.hears(.contact, after: 1))
        let earlier = "update assignment.sessions set assigned_at = assigned_at - interval '60 s' "
        try await store.run(earlier + "where tenant_id = $1", [.uuid(store.tenant.id)])
        // To the owner before, and by somebody whom nobody knows.
        _ = try await owned.hears(.agent, other, after: -90)
        _ = try await owned.hears(.agent, UUID(), after: -30)
        #expect(try await owned.matches("state = 'queued'"))
        _ = try await owned.hears(.agent, other, after: -30)
        let its = "state = 'assigned' and assignee_id = '\(other)' and assignment.is_answered(s)"
        #expect(try await owned.matches(isWanted ? its : "state = 'queued'"))
        guard isWanted else { return }
        // The same words, told again after it queued once more, are no new claim.
        try await store.status(other, "offline")
        #expect(try await owned.hears(.contact, after: 40))
        _ = try await owned.hears(.agent, other, after: -30)
        #expect(try await owned.matches("state = 'queued'"))
        try await store.expectTrue(cap: 1000)
    }

    @Test("only conversations with a session that is not closed are looked at, of the right tenant")
    @LoopActor func open() async throws {
        let store = try await TestStore.open()
        let owned = try await Owned(store)
        let closed = try await Owned(store)
        try await store.act(closed.session, .close)
        let other = try await store.makeTenant()
        let code = store.tenant.code
        #expect(
            try await store.sessions.open([
                (code, UUID()), (code, owned.conversation), (code, closed.conversation),
                (other.code, owned.conversation), ("nobody", owned.conversation),
                (code, owned.conversation),
            ]) == [1, 5]
        )
        #expect(try await store.sessions.open([]) == [])
    }
}
