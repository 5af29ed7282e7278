import Domain
import EventLoop
import Foundation
import JSON
import Platform
import PostgresClient
import TestSupport
import Testing

@testable import messaging

/// A process that posts, and conversations to post to.
@LoopActor
private struct Post {
    let caller: Caller
    let conversations: [UUID]
    let post: PostMessage
    let messages: MessageRepository
    let mailbox: MessagingConfiguration

    init(_ postgres: PostgresClient, _ world: Post) {
        self.init(postgres, world.caller, world.conversations, world.mailbox)
    }

    private init(
        _ postgres: PostgresClient,
        _ caller: Caller,
        _ conversations: [UUID],
        _ mailbox: MessagingConfiguration
    ) {
        self.caller = caller
        self.conversations = conversations
        self.mailbox = mailbox
        messages = MessageRepository(postgres: postgres)
        post = PostMessage(
            messages: messages,
            conversations: ConversationRepository(postgres: postgres),
            configuration: mailbox,
            limiter: RoomLimiter(limiter: nil, limit: 1_000_000, window: .seconds(60)),
            lock: MessageLock(store: nil, ttl: .seconds(30)),
            queue: ConversationQueue(),
            controlWord: { ControlWords().meaning(of: $1) }
        )
    }

    /// A tenant with so many conversations.
    static func world(_ postgres: PostgresClient, conversations count: Int) async throws -> Post {
        let tenant = UUID()
        let caller = Caller(tenant: tenant, code: "t", actor: "test", requestID: "r")
        for statement in [
            "insert into platform.tenants (id, code) values ($1, 't')",
            "insert into messaging.channels (tenant_id, code, kind) values ($1, 'c', 'local')",
        ] {
            _ = try await postgres.query(statement, [.uuid(tenant)])
        }
        let repository = ConversationRepository(postgres: postgres)
        var conversations: [UUID] = []
        for number in 0..<count {
            let opened = try await repository.open(
                caller,
                NewConversation(
                    channelCode: "c",
                    contact: "contact \(number)",
                    contactName: nil,
                    externalID: nil,
                    bot: nil,
                    title: nil
                )
            )
            conversations.append(try #require(JSON(parsing: opened.answer)["id"]?.uuidValue))
        }
        return Post(postgres, caller, conversations, try settings())
    }

    func message(
        _ text: String,
        to conversation: UUID,
        key: String? = nil,
        externalID: String? = nil
    ) -> NewMessage {
        NewMessage(
            id: .version7(milliseconds: WallClock.milliseconds()),
            conversation: conversation,
            sender: Sender(kind: .contact, id: "ann"),
            text: text,
            externalID: externalID,
            replyTo: nil,
            thread: nil,
            key: key.map {
                RequestKey(
                    key: $0,
                    method: "POST",
                    path: "/\(conversation.text)",
                    bodyHash: Array(text.utf8)
                )
            },
            features: TextFeatures(text)
        )
    }

    func begin(_ message: NewMessage) -> Task<Outcome, any Error> {
        Task { try await post.execute(caller, message) }
    }

    /// A group as the use case makes it.
    func placed(_ text: String, in conversation: UUID) -> PlacedPosts {
        PlacedPosts(
            posts: [
                (
                    PendingPost(
                        caller: caller,
                        message: message(text, to: conversation),
                        delay: nil
                    ),
                    ThreadChoice.choose(
                        explicit: nil,
                        replyThread: nil,
                        features: TextFeatures(text),
                        threads: [],
                        now: 0
                    ).naming(.version7(milliseconds: WallClock.milliseconds()))
                )
            ],
            version: 0,
            isForced: true
        )
    }
}

extension Outcome {
    fileprivate var messageID: UUID? {
        get throws { try JSON(parsing: answer)["message"]?["id"]?.uuidValue }
    }
}

/// Messages of several conversations in one statement, against everything that could tie them.
@Suite("Posting together", .serialized, .needsPostgres)
struct PostTogetherTests {
    private static func count(_ postgres: PostgresClient, _ sql: String) async throws -> Int {
        try await postgres.query("select (\(sql))::int n").one().int("n")
    }

    @Test("messages to different conversations are stored in one transaction")
    @LoopActor func together() async throws {
        try await SchemaDatabase.with { postgres in
            let world = try await Post.world(postgres, conversations: 12)
            let posts = world.conversations.map { world.begin(world.message("hello", to: $0)) }
            for post in posts { #expect(try await post.value.name == "created") }
            #expect(
                try await PostTogetherTests.count(
                    postgres,
                    "select count(*) from messaging.messages"
                ) == 12
            )
            #expect(
                try await PostTogetherTests.count(
                    postgres,
                    "select count(distinct created_at) from messaging.messages"
                ) < 12
            )
        }
    }

    @Test("a conversation that somebody holds is busy at once, and holds up no stranger")
    @LoopActor func held() async throws {
        try await SchemaDatabase.with { postgres in
            let world = try await Post.world(postgres, conversations: 3)
            let slow = world.conversations[1]
            let (posts, quick): ([Task<Outcome, any Error>], Duration) =
                try await postgres.transaction { transaction in
                    _ = try await transaction.query(
                        "select 1 from messaging.conversations where id = $1 for update",
                        [.uuid(slow)]
                    )
                    let began = MonotonicTime.now()
                    let posts = world.conversations.map { world.begin(world.message("a", to: $0)) }
                    for index in [0, 2] {
                        #expect(try await posts[index].value.name == "created")
                    }
                    // A stranger that comes later does not wait behind the one that waits, either.
                    let quick = MonotonicTime.now() - began
                    try await EventLoop.shared.sleep(for: .milliseconds(300))
                    return (posts, quick)
                }
            #expect(quick < .milliseconds(250))
            #expect(try await posts[1].value.name == "created")
        }
    }

    @Test("another lock is waited for no longer than a moment, and then by its own message only")
    @LoopActor func otherLock() async throws {
        try await SchemaDatabase.with { postgres in
            let world = try await Post.world(postgres, conversations: 6)
            // The same external id, not committed yet, in a conversation that is not written to.
            let other = world.conversations[5]
            let posts: [Task<Outcome, any Error>] =
                try await postgres.transaction { transaction in
                    _ = try await transaction.query(
                        """
                        insert into messaging.messages (tenant_id, id, conversation_id, seq,
                          channel_code, sender_kind, sender_id, text, external_id, thread_state,
                          answer)
                        values ($1, $2, $3, 99, 'c', 'contact', 'bob', 'early', 'x', 'deferred',
                          '{"message": {"id": "early"}}')
                        """,
                        [.uuid(world.caller.tenant), .uuid(UUID()), .uuid(other)]
                    )
                    let posts = world.conversations.prefix(5).enumerated().map { index, id in
                        world.begin(
                            world.message("a", to: id, externalID: index == 2 ? "x" : nil)
                        )
                    }
                    let began = MonotonicTime.now()
                    for index in [0, 1, 3, 4] {
                        #expect(try await posts[index].value.name == "created")
                    }
                    #expect(MonotonicTime.now() - began < .milliseconds(1000))
                    return posts
                }
            #expect(try await posts[2].value.name == "duplicate")
        }
    }

    @Test("a message that the database refuses fails alone")
    @LoopActor func poison() async throws {
        try await SchemaDatabase.with { postgres in
            let world = try await Post.world(postgres, conversations: 10)
            _ = try await postgres.query(
                """
                create function public.refuse() returns trigger language plpgsql as
                'begin raise exception ''injected''; end'
                """
            )
            _ = try await postgres.query(
                """
                create trigger refuse before insert on messaging.messages for each row
                when (new.text = 'poison') execute function public.refuse()
                """
            )
            let posts = world.conversations.enumerated().map { index, id in
                world.begin(world.message(index == 4 ? "poison" : "water", to: id))
            }
            for (index, post) in posts.enumerated() {
                if index == 4 {
                    await #expect(throws: PostgresError.self) { try await post.value }
                } else {
                    #expect(try await post.value.name == "created")
                }
            }
            #expect(
                try await PostTogetherTests.count(
                    postgres,
                    "select count(*) from messaging.messages"
                ) == 9
            )
        }
    }

    @Test("two processes with the same conversations in opposite orders never wait for each other")
    @LoopActor func orders() async throws {
        try await SchemaDatabase.with { postgres in
            let world = try await Post.world(postgres, conversations: 8)
            var results: [PostResult] = []
            for round in 0..<40 {
                let there = world.conversations.map { world.placed("there \(round)", in: $0) }
                let back = world.conversations.reversed().map {
                    world.placed("back \(round)", in: $0)
                }
                async let first = world.messages.post(there, waits: false, mailbox: world.mailbox)
                async let second = world.messages.post(back, waits: false, mailbox: world.mailbox)
                results += try await first + second
            }
            var written = 0
            for case .written(let outcomes) in results {
                #expect(outcomes.map(\.name) == ["created"])
                written += 1
            }
            #expect(results.count == 640)
            #expect(written >= 320)
            #expect(
                try await PostTogetherTests.count(
                    postgres,
                    "select count(*) from messaging.messages"
                ) == written
            )
        }
    }

    @Test("of posts with random repeats, by key or by external id, each is stored once, in order")
    @LoopActor func repeats() async throws {
        let isLong = ProcessInfo.processInfo.environment["SWITCHBOARD_LONG"] != nil
        let count = isLong ? 5_000 : 500
        try await SchemaDatabase.with { postgres in
            let world = try await Post.world(postgres, conversations: 25)
            var random = SeededRandom(seed: 7)
            var asked: [NewMessage] = []
            for number in 0..<count {
                if number > 0, Int.random(in: 0..<4, using: &random) == 0 {
                    // The same request with another id of ours, as a client repeats it.
                    let first = asked[Int.random(in: 0..<number, using: &random)]
                    asked.append(
                        world.message(
                            first.text,
                            to: first.conversation,
                            key: first.key?.key,
                            externalID: first.externalID
                        )
                    )
                } else {
                    let isKeyed = Bool.random(using: &random)
                    asked.append(
                        world.message(
                            "message \(number)",
                            to: world.conversations.randomElement(using: &random) ?? UUID(),
                            key: isKeyed ? "k\(number)" : nil,
                            externalID: isKeyed ? nil : "x\(number)"
                        )
                    )
                }
            }
            var ids: [String: UUID] = [:]
            for start in stride(from: 0, to: count, by: 100) {
                let round = asked[start..<min(start + 100, count)]
                let posts = round.map { ($0.text, world.begin($0)) }
                for (text, post) in posts {
                    let id = try #require(try await post.value.messageID)
                    #expect(ids[text] == nil || ids[text] == id)
                    ids[text] = id
                }
            }
            let stored = "select count(*) from messaging.messages"
            #expect(try await PostTogetherTests.count(postgres, stored) == ids.count)
            // Numbers have gaps nowhere, and each message left its two events and its audit.
            let odd = """
                select count(*) from (select 1 from messaging.messages group by conversation_id
                having max(seq) <> count(*)) x
                """
            #expect(try await PostTogetherTests.count(postgres, odd) == 0)
            let events = """
                select count(*) from platform.outbox
                where target in ('message.created', 'message.assigned')
                """
            #expect(try await PostTogetherTests.count(postgres, events) == 2 * ids.count)
            let audits = "select count(*) from platform.audit where action = 'message.post'"
            #expect(try await PostTogetherTests.count(postgres, audits) == ids.count)
        }
    }
}
