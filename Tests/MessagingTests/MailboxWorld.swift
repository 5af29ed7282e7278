import Coordination
import Domain
import EventLoop
import Foundation
import JSON
import Platform
import PostgresClient
import TestSupport

@testable import messaging

/// One conversation in a real database, three workers that may die or come late, and everybody who
/// may interfere; each step is checked against ``MailboxModel``.
@LoopActor
final class MailboxWorld {
    /// A job that a worker believes to have.
    struct Held {
        let worker: Int
        let work: JobWork
        let upto: Int64
    }

    private let postgres: PostgresClient
    let caller: Caller
    let conversation: UUID
    private let post: PostMessage
    private let jobs: AIJobRepository
    private let conversations: ConversationRepository
    private let workers: [BotJobs]
    private let secrets: SecretBox
    private var model: MailboxModel
    private var held: [Held] = []
    private var sessions: Int64 = 0
    /// The messages that the bot's answers consist of.
    private var parts = 0
    /// Whether callers bring histories of their own, which count as messages of a job as well.
    private let mixesHistories: Bool

    init(
        _ postgres: PostgresClient,
        _ configuration: MessagingConfiguration,
        tenant: UUID,
        mixesHistories: Bool
    ) async throws {
        self.postgres = postgres
        self.mixesHistories = mixesHistories
        caller = Caller(tenant: tenant, code: "t", actor: "test", requestID: "r")
        secrets = configuration.service.secretBox
        model = MailboxModel(supersedesMax: configuration.bot.supersedesMax)
        jobs = AIJobRepository(postgres: postgres)
        conversations = ConversationRepository(postgres: postgres)
        post = PostMessage(
            messages: MessageRepository(postgres: postgres),
            conversations: conversations,
            configuration: configuration,
            limiter: RoomLimiter(limiter: nil, limit: 1_000_000, window: .seconds(60)),
            lock: MessageLock(store: nil, ttl: .seconds(30)),
            queue: ConversationQueue(),
            controlWord: { ControlWords().meaning(of: $1) }
        )
        workers = (0..<3).map {
            BotJobs(postgres: postgres, settings: configuration.bot, worker: "worker-\($0)")
        }
        let opened = try await conversations.open(
            caller,
            NewConversation(
                channelCode: "c",
                contact: UUID().uuidString,
                contactName: nil,
                externalID: nil,
                bot: nil,
                title: nil
            )
        )
        guard let id = try JSON(parsing: opened.answer)["id"]?.stringValue,
            let conversation = UUID(uuidString: id)
        else { throw Violation("no conversation: \(opened.name)") }
        self.conversation = conversation
    }

    private var place: [PostgresValue] { [.uuid(caller.tenant), .uuid(conversation)] }

    // MARK: The contact

    func says(_ text: String, _ control: ControlWord? = nil) async throws {
        let outcome = try await post.execute(
            caller,
            NewMessage(
                id: .version7(milliseconds: WallClock.milliseconds()),
                conversation: conversation,
                sender: Sender(kind: .contact, id: "c"),
                text: text,
                externalID: nil,
                replyTo: nil,
                thread: nil,
                key: nil,
                features: TextFeatures(text),
                control: control
            )
        )
        let answer = try JSON(parsing: outcome.answer)
        guard outcome.name == "created", let seq = answer["message"]?["seq"]?.intValue,
            let status = answer["bot"]?["status"]?.stringValue
        else { throw Violation("a message was not taken: \(outcome.name)") }
        switch control {
        case nil: try model.posted(seq, status: status)
        case .agent: model.handedOver(seq)
        case .stop: model.owner == .bot ? model.stopped(seq) : model.handedOver(seq)
        }
    }

    // MARK: Workers

    func claims(_ worker: Int) async throws {
        for document in try await workers[worker].claim(limit: 10).works {
            let work = try JobWork(document, secrets: secrets)
            // A job without anything to post may be left of an earlier run's conversation and come
            // due now; the model knows nothing of that one.
            guard work.conversationID == conversation else { continue }
            held.append(
                Held(worker: worker, work: work, upto: document["upto_seq"]?.intValue ?? 0)
            )
        }
    }

    /// One of the workers answers, now or when nobody expects it any more; sometimes twice.
    func answers(_ random: inout SeededRandom) async throws {
        guard let index = held.indices.randomElement(using: &random) else { return }
        let job = held[index]
        if !random.chance(0.2) { held.remove(at: index) }
        let asks = random.chance(0.05)
        let long = random.chance(0.1) ? " " + String(repeating: "on and on. ", count: 500) : ""
        let text = "answer to \(job.upto)" + long + (asks ? " [[handover]]" : "")
        let reply = BotReply(text, marker: "[[handover]]")
        let outcome = try await workers[job.worker].finish(job.work, AIAnswer(text: text), reply)
        switch outcome {
        case "posted":
            let rows = try await postgres.query(
                """
                select m.text, m.stale, j.consolidated_messages n from messaging.messages m
                join messaging.ai_jobs j on j.tenant_id = m.tenant_id and j.id = m.ai_job_id
                where m.tenant_id = $1 and m.ai_job_id = $2 order by m.seq
                """,
                [.uuid(caller.tenant), .uuid(job.work.id)]
            )
            let limit = AnswerParts.limit(of: job.work.channelKind)
            guard let first = rows.first,
                try rows.map({ try $0.string("text") })
                    == AnswerParts.split(reply.text, limit: limit)
            else { throw Violation("an answer is not whole, or not in order") }
            parts += rows.count
            try model.answered(
                upto: job.upto,
                stale: try first.bool("stale"),
                consolidated: mixesHistories ? nil : try first.int("n")
            )
            if asks { model.handedOver() }
        case "done":
            let isSilent = model.waiting(upto: job.upto).isEmpty
            guard isSilent else {
                throw Violation("an answer to \(job.upto) was kept: posts \(job.work.isPosted)")
            }
        case "superseded": try model.superseded(upto: job.upto)
        case "lost": break
        default: throw Violation("finish answered '\(outcome)'")
        }
    }

    /// Everybody answers, once and without asking for a person.
    func answersNow() async throws {
        var calm = SeededRandom(seed: 1)
        while !held.isEmpty { try await answers(&calm) }
    }

    func fails(_ random: inout SeededRandom) async throws {
        guard let index = held.indices.randomElement(using: &random) else { return }
        let job = held[index]
        if !random.chance(0.2) { held.remove(at: index) }
        let error = AIProviderError(isFinal: random.chance(0.2), description: "no answer")
        let outcome = try await workers[job.worker].fail(job.work, error)
        if outcome == "failed" {
            model.failed()
            if !model.waiting(upto: job.upto).isEmpty { model.handedOver() }
        }
    }

    /// A worker has aborted its call because of a newer message, or believes that there is one.
    func aborts(_ random: inout SeededRandom) async throws {
        guard let index = held.indices.randomElement(using: &random) else { return }
        let job = held.remove(at: index)
        switch try await workers[job.worker].supersede(job.work) {
        case "superseded": try model.superseded(upto: job.upto)
        case "lost", "retry": break
        case let other: throw Violation("supersede answered '\(other)'")
        }
    }

    /// A worker that stops hands its job back.
    func givesBack(_ random: inout SeededRandom) async throws {
        guard let index = held.indices.randomElement(using: &random) else { return }
        let job = held.remove(at: index)
        _ = try await workers[job.worker].giveBack(job.work)
    }

    /// Whoever works gives no sign of life any more, and may come back late.
    func leasesEnd() async throws {
        _ = try await postgres.query(
            """
            update messaging.ai_jobs set lease_until = now() - interval '1 s'
            where tenant_id = $1 and conversation_id = $2 and status = 'processing'
            """,
            place
        )
    }

    func sweeps() async throws {
        try await workers[0].sweep()
        // A job whose tries are used up asks for a person.
        let row = try await postgres.query(
            "select owner_kind from messaging.conversations where tenant_id = $1 and id = $2",
            place
        ).one()
        if try row.string("owner_kind") != "bot", model.owner == .bot { model.handedOver() }
    }

    // MARK: Everybody else

    func handles() async throws {
        guard mixesHistories else { return }
        let turns = [AITurn(role: .user, content: "brought along")]
        _ = try await jobs.start(
            caller,
            HandleRequest(conversation: conversation, turns: turns, resources: nil),
            debounce: .zero
        )
    }

    func cancels() async throws {
        let row = try await postgres.query(
            """
            select id, upto_seq from messaging.ai_jobs
            where tenant_id = $1 and conversation_id = $2 and status in ('pending', 'processing')
            """,
            place
        ).first
        guard let row else { return }
        _ = try await jobs.stop(
            caller,
            job: try row.uuid("id"),
            status: "cancelled",
            reason: "test"
        )
        model.cancelled(upto: try row.int64("upto_seq"))
    }

    func releases() async throws {
        let outcome = try await jobs.stop(
            caller,
            conversation: conversation,
            status: "superseded",
            reason: "test"
        )
        if outcome.name == "ended" { model.released() }
    }

    func personTakes() async throws {
        try await changeOwner("assigned", assignee: UUID())
        model.handedOver()
    }

    func personReturns() async throws {
        try await changeOwner("closed", assignee: nil)
        model.returned()
    }

    private func changeOwner(_ state: String, assignee: UUID?) async throws {
        sessions += 1
        _ = try await conversations.applyAssignment(
            caller,
            OwnerChange(
                conversation: conversation,
                session: .version7(milliseconds: sessions),
                version: 1,
                state: state,
                owner: nil,
                assignee: assignee,
                reason: "test"
            )
        )
    }

    // MARK: The end

    /// Lets everything settle: then nothing waits, and nobody who comes late says anything.
    func settles() async throws {
        for _ in 1...20 {
            try await leasesEnd()
            _ = try await postgres.query(
                """
                update messaging.conversations set updated_at = now() - interval '1 min'
                where tenant_id = $1 and id = $2
                """,
                place
            )
            try await sweeps()
            // After the sweep: what that hands to the next try is due now, whatever its pause, and
            // has not used up its tries.
            _ = try await postgres.query(
                """
                update messaging.ai_jobs set due_at = now(), attempts = 0
                where tenant_id = $1 and conversation_id = $2 and status = 'pending'
                """,
                place
            )
            let late = held
            held = []
            try await claims(0)
            try await answersNow()
            held = late
            if model.waiting().isEmpty { break }
        }
        try await answersNow()
        guard model.waiting().isEmpty else {
            throw Violation("messages \(model.waiting()) were never answered")
        }
        let said = try await postgres.query(
            """
            select count(*) n from messaging.messages
            where tenant_id = $1 and conversation_id = $2 and sender_kind = 'bot'
              and ai_job_id is not null
            """,
            place
        ).one().int("n")
        guard said == parts else {
            throw Violation("\(said) messages are in the conversation, \(parts) were told")
        }
        try await everyAnswerIsSentOnce()
    }

    /// Each answer that is in the conversation is asked to be delivered, once; and nothing else is.
    private func everyAnswerIsSentOnce() async throws {
        let row = try await postgres.query(
            """
            select (select count(*) from platform.outbox o
                     where o.tenant_id = $1 and o.key = $2::text
                       and o.target = 'dispatch-worker') asked,
              (select count(distinct o.event_id) from platform.outbox o join messaging.messages m
                  on m.tenant_id = o.tenant_id and m.message_request_id = o.event_id
                 and o.payload ->> 'text' = m.text
                where o.tenant_id = $1 and m.conversation_id = $2::uuid
                  and o.target = 'dispatch-worker' and m.ai_job_id is not null) sent
            """,
            [.uuid(caller.tenant), .string(conversation.text)],
            idempotent: true
        ).one()
        let (asked, sent) = (try row.int("asked"), try row.int("sent"))
        guard asked == parts, sent == parts else {
            throw Violation("of \(parts) messages \(sent) are sent, by \(asked) requests")
        }
    }
}
