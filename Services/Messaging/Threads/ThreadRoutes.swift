internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Threads corrected by hand.
@LoopActor
struct ThreadRoutes {
    /// How many messages one call may move.
    static let messagesMax = 100
    /// The longest title, in Unicode scalars.
    static let titleMax = 200

    let threads: ThreadRepository
    let correction: ThreadCorrection
    /// Called after a commit that changed threads.
    let committed: @LoopActor (Caller, UUID?) async -> Void

    var routes: [Route] {
        [
            create, rename, setArchived(true), setArchived(false),
            reshape("move", "Move messages into a thread", ThreadRoutes.moving),
            reshape(
                "split",
                "Make a new thread of some messages of a thread",
                ThreadRoutes.splitting
            ),
            reshape(
                "merge",
                "Move all messages of a thread into another",
                ThreadRoutes.merging
            ),
        ]
    }

    private func route(
        _ method: HTTPMethod,
        _ path: String,
        _ summary: String,
        description: String = "",
        status: Int = 200,
        body: JSON? = nil,
        answer: JSON = Schemas.reference("Thread"),
        _ handler: @escaping Route.Handler
    ) -> Route {
        Route(
            method,
            path,
            access: .roleOrService(.agent),
            summary: summary,
            description: description,
            tag: "Threads",
            idempotency: method == .post ? .replayed : .none,
            requestSchema: body,
            responses: [status: RouteResponse("It is so.", schema: answer)],
            handler: handler
        )
    }

    private var create: Route {
        route(
            .post,
            "/v1/conversations/{id}/threads",
            "Make a thread by hand",
            status: 201,
            body: JSONFields.schema(ThreadRoutes.title)
        ) { request in
            let caller = try request.caller()
            let conversation = try request.id()
            let title = try request.readOptional(ThreadRoutes.title)
            let outcome = try await threads.create(caller, in: conversation, title: title)
            let thread = try ThreadCorrection.answer(outcome)
            await committed(caller, conversation)
            return .json(201, bytes: thread)
        }
    }

    private var rename: Route {
        route(
            .patch,
            "/v1/threads/{id}",
            "Give a thread another title",
            body: JSONFields.schema(ThreadRoutes.title)
        ) { request in
            let title = try request.readOptional(ThreadRoutes.title)
            return try await changed(request, title: title)
        }
    }

    private func setArchived(_ isArchived: Bool) -> Route {
        route(
            .post,
            "/v1/threads/{id}/\(isArchived ? "archive" : "unarchive")",
            isArchived ? "Archive a thread" : "Take a thread back from the archive",
            description: isArchived
                ? "No message is assigned to it any more, and lists leave it out." : ""
        ) { request in
            guard try request.body.isEmpty || JSON(parsing: request.body) == [:] else {
                throw Problem.invalid("", "takes no body")
            }
            return try await changed(request, isArchived: isArchived)
        }
    }

    private func changed(
        _ request: Request,
        title: String? = nil,
        isArchived: Bool? = nil
    ) async throws -> Response {
        let caller = try request.caller()
        let thread = try ThreadCorrection.answer(
            try await threads.change(
                caller,
                try request.id(),
                title: title,
                isArchived: isArchived
            )
        )
        await committed(caller, try JSON(parsing: thread)["conversation_id"]?.uuidValue)
        return .json(bytes: thread)
    }

    private func reshape(
        _ verb: String,
        _ summary: String,
        _ read: @escaping @LoopActor (_ thread: UUID, inout JSONFields) -> ThreadReshape
    ) -> Route {
        route(
            .post,
            "/v1/threads/{id}/\(verb)",
            summary,
            description: "What is put somewhere by hand is never moved by automatic assignment.",
            status: verb == "split" ? 201 : 200,
            body: JSONFields.schema { read(UUID(), &$0) },
            answer: Schemas.reference("ThreadChange")
        ) { request in
            let caller = try request.caller()
            let thread = try request.id()
            let reshape = try request.readOptional { read(thread, &$0) }
            let answer = try await correction.execute(caller, reshape)
            let changed = try JSON(parsing: answer, limits: .foreign)["thread"]
            await committed(caller, changed?["conversation_id"]?.uuidValue)
            return .json(verb == "split" ? 201 : 200, bytes: answer)
        }
    }

    private static func moving(_ thread: UUID, _ fields: inout JSONFields) -> ThreadReshape {
        ThreadReshape(
            kind: .move,
            thread: thread,
            into: nil,
            messages: fields.uuids("message_ids", count: 1...messagesMax),
            title: nil
        )
    }

    private static func splitting(_ thread: UUID, _ fields: inout JSONFields) -> ThreadReshape {
        ThreadReshape(
            kind: .split,
            thread: thread,
            into: nil,
            messages: fields.uuids("message_ids", count: 1...messagesMax),
            title: fields.optionalString("title", length: 1...titleMax)
        )
    }

    private static func merging(_ thread: UUID, _ fields: inout JSONFields) -> ThreadReshape {
        ThreadReshape(
            kind: .merge,
            thread: thread,
            into: fields.uuid("into"),
            messages: [],
            title: nil
        )
    }

    private static func title(_ fields: inout JSONFields) -> String {
        fields.string("title", length: 1...titleMax)
    }
}

extension JSON {
    /// The id that a string spells; `nil` for anything else.
    var uuidValue: UUID? { stringValue.flatMap(UUID.init(text:)) }
}
