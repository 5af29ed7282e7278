internal import Domain
internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Messages: written, read, answered.
@LoopActor
struct MessageRoutes {
    /// The longest text of a message, in Unicode scalars.
    static let textMax = 40_000

    let post: PostMessage
    let messages: MessageRepository
    let assignments: AssignmentQueue
    /// Called after a commit that left something to do.
    let committed: @LoopActor (Caller, UUID, _ bot: [UInt8]?) async -> Void

    var routes: [Route] { [write, find, reply] }

    private var write: Route {
        Route(
            .post,
            "/v1/conversations/{id}/messages",
            access: .roleOrService(.agent),
            summary: "Post a message",
            description: "Stores it, finds its thread and gives it to the bot's mailbox, in one "
                + "transaction. A repeat by `external_id` gets the first result with 200. `text` may "
                + "be missing where there are `attachments`, which the bot waits for no longer.",
            tag: "Messages",
            idempotency: .inHandler,
            requestSchema: Schemas.object(
                [
                    "sender": Schemas.sender, "text": Schemas.text, "external_id": Schemas.text,
                    "reply_to": Schemas.uuid, "thread_id": Schemas.uuid,
                    "attachments": Attachment.schema,
                ],
                required: ["sender"]
            ),
            queryParameters: [
                QueryParameter(
                    "mode",
                    "`async`: a job finds the thread; the answer is 202 and names it.",
                    schema: Schemas.oneOf(["sync", "async"])
                )
            ],
            responses: [
                200: RouteResponse("It was there.", schema: Schemas.reference("PostedMessage")),
                201: RouteResponse("It is stored.", schema: Schemas.reference("PostedMessage")),
                202: RouteResponse("It is stored, and a job made.", schema: Schemas.free),
            ],
            handler: { request in
                let caller = try request.caller()
                var message = try MessageRoutes.message(of: request)
                let mode = request.query["mode"] ?? "sync"
                guard ["sync", "async"].contains(mode) else {
                    throw Problem.invalid("/query/mode", "must be sync or async")
                }
                if mode == "async" { message.laterAfter = assignments.delay }
                let outcome = try await post.execute(caller, message)
                if outcome.name == "created" {
                    await committed(caller, message.conversation, outcome.bot)
                    try await FaultPoints.reached("message.shown")
                }
                let response = try MessageRoutes.response(to: outcome)
                guard mode == "async", response.status == 201 else { return response }
                return try await accepted(caller, outcome, response)
            }
        )
    }

    /// Adds the job to an answer; a repeat adds none to the queue, where its id stands already.
    private func accepted(
        _ caller: Caller,
        _ outcome: Outcome,
        _ response: Response
    ) async throws -> Response {
        guard case .object(var answer) = try JSON(parsing: outcome.answer),
            let id = answer["message"]?["id"]?.uuidValue,
            let room = answer["message"]?["conversation_id"]?.uuidValue
        else { throw Problem.internalError }
        if outcome.name == "created" {
            await assignments.add(caller, message: id, room: room)
            try await FaultPoints.reached("assignment.queued")
        }
        answer["job"] = AssignmentJobRoutes.job(id, room: room, .waiting)
        var accepted = Response.json(202, .object(answer))
        accepted.fields = response.fields
        return accepted
    }

    private static func message(of request: Request) throws -> NewMessage {
        let conversation = try request.id()
        let key = RequestKey(request)
        return try request.readOptional { fields in
            let sender = MessageRoutes.sender(&fields)
            let given = fields.optionalString("text", length: 1...textMax)
            let files = Attachment.list(&fields)
            if given == nil, !fields.has("text"), !fields.has("attachments") {
                fields.fault("text", "is needed unless there are attachments")
            }
            let text = given ?? Attachment.words(of: files ?? [])
            return NewMessage(
                id: .version7(milliseconds: WallClock.milliseconds()),
                conversation: conversation,
                sender: sender,
                text: text,
                externalID: fields.optionalString("external_id", length: 1...255),
                replyTo: fields.optionalUUID("reply_to"),
                thread: fields.optionalUUID("thread_id"),
                key: key,
                features: TextFeatures(text, author: sender.id),
                attachments: files ?? []
            )
        }
    }

    private static func sender(_ fields: inout JSONFields) -> Sender {
        fields.object("sender") { sender in
            Sender(
                kind: sender.choice("kind", of: Sender.Kind.self),
                id: sender.string("id", length: 1...255)
            )
        }
    }

    /// The answer that an outcome of `post_batch` or `store_reply` calls for.
    static func response(to outcome: Outcome) throws -> Response {
        switch outcome.name {
        case "created": return .json(201, bytes: outcome.answer)
        case "duplicate": return .json(200, bytes: outcome.answer)
        case "replayed":
            return Response.json(201, bytes: outcome.answer)
                .withField("Idempotency-Replayed", "true")
        case "invalid":
            let fault = try JSON(parsing: outcome.answer)
            throw Problem.invalid(
                fault["pointer"]?.stringValue ?? "",
                fault["detail"]?.stringValue ?? "is not valid"
            )
        case "closed", "elsewhere": throw Problem.conversationClosed
        case "reused": throw Problem.idempotencyKeyReused
        case "in_progress": throw Problem.idempotencyInProgress
        default: throw Problem.notFound
        }
    }

    private var find: Route {
        Route(
            .get,
            "/v1/messages/{id}",
            access: .roleOrService(.viewer),
            summary: "A message",
            tag: "Messages",
            responses: [200: RouteResponse("It.", schema: Schemas.reference("Message"))],
            handler: { request in
                guard
                    let item = try await messages.find(try request.caller(), try request.id())
                else { throw Problem.notFound }
                return .json(bytes: item)
            }
        )
    }

    private var reply: Route {
        Route(
            .post,
            "/v1/conversations/{id}/replies",
            access: .roleOrService(.agent),
            summary: "Answer the contact",
            description: "Stores the message and asks dispatch-worker to deliver it; what becomes "
                + "of it appears in the message's `delivery`. A text that is longer than the "
                + "channel's provider takes is several messages, in `messages`.",
            tag: "Messages",
            idempotency: .inHandler,
            requestSchema: Schemas.object(
                ["text": Schemas.text, "thread_id": Schemas.uuid, "sender": Schemas.sender],
                required: ["text", "sender"]
            ),
            responses: [
                202: RouteResponse("It is stored and will be delivered.", schema: Schemas.free)
            ],
            handler: { request in
                let caller = try request.caller()
                let conversation = try request.id()
                let reply = try request.readOptional { fields in
                    NewReply(
                        conversation: conversation,
                        sender: MessageRoutes.sender(&fields),
                        text: fields.string("text", length: 1...MessageRoutes.textMax),
                        thread: fields.optionalUUID("thread_id"),
                        key: RequestKey(request)
                    )
                }
                try await FaultPoints.reached("reply.before_commit")
                let outcome = try await RequestKey.patiently {
                    try await messages.reply(caller, reply)
                }
                try await FaultPoints.reached("reply.committed")
                var response = try MessageRoutes.response(to: outcome)
                response.status = 202
                if outcome.name == "created" {
                    await committed(caller, conversation, outcome.bot)
                }
                return response
            }
        )
    }
}
