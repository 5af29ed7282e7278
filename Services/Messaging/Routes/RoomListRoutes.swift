internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// The lists of a room that are read most: its messages and its threads, from their cache.
///
/// A class, and what takes room is a call of its own: a reader's task holds little while it waits for
/// the generation, which is all that most of them wait for.
@LoopActor
final class RoomListRoutes {
    /// How long a list of threads is kept.
    static let threadsTTL: Duration = .seconds(300)

    private let messages: MessageRepository
    private let conversations: ConversationRepository
    private let cache: QueryCache
    private let messagesTTL: Duration

    /// - Parameter messagesTTL: how long a list of messages is kept.
    init(
        messages: MessageRepository,
        conversations: ConversationRepository,
        cache: QueryCache,
        messagesTTL: Duration
    ) {
        self.messages = messages
        self.conversations = conversations
        self.cache = cache
        self.messagesTTL = messagesTTL
    }

    var routes: [Route] { [listMessages, listThreads] }

    private var listMessages: Route {
        Route(
            .get,
            "/v1/conversations/{id}/messages",
            access: .roleOrService(.viewer),
            summary: "The messages of a conversation, newest first",
            tag: "Messages",
            queryParameters: [
                QueryParameter("thread_id", "Only those of a thread.", schema: Schemas.uuid)
            ] + Page.parameters,
            responses: [200: RouteResponse("A page.", schema: Schemas.list(of: "Message"))],
            handler: { [self] request in
                let query = try RoomListRoutes.messages(request)
                return .json(
                    bytes: try await cache.value(query, ttl: messagesTTL) {
                        try await messages(request, query)
                    }
                )
            }
        )
    }

    private var listThreads: Route {
        Route(
            .get,
            "/v1/conversations/{id}/threads",
            access: .roleOrService(.viewer),
            summary: "The threads of a conversation, those written to last first",
            tag: "Threads",
            queryParameters: [
                QueryParameter(
                    "include_archived",
                    "Whether archived ones are listed.",
                    schema: Schemas.flag
                )
            ] + Page.parameters,
            responses: [200: RouteResponse("A page.", schema: Schemas.list(of: "Thread"))],
            handler: { [self] request in
                let query = try RoomListRoutes.threads(request)
                return .json(
                    bytes: try await cache.value(query, ttl: RoomListRoutes.threadsTTL) {
                        try await threads(request, query)
                    }
                )
            }
        )
    }

    // MARK: What is asked for

    @inline(never)
    private static func messages(_ request: Request) throws -> QueryCache.Query {
        var thread: UUID?
        if let text = request.query["thread_id"] {
            thread = UUID(text: text)
            guard thread != nil else {
                throw Problem.invalid("/query/thread_id", "must be a UUID")
            }
        }
        return QueryCache.Query(
            namespace: .messages,
            tenant: try Tenant(request).code,
            room: try request.id(),
            thread: thread,
            page: try Page(request.query)
        )
    }

    @inline(never)
    private static func threads(_ request: Request) throws -> QueryCache.Query {
        QueryCache.Query(
            namespace: .threads,
            tenant: try Tenant(request).code,
            room: try request.id(),
            includesArchived: try request.query.bool("include_archived") ?? false,
            page: try Page(request.query, limit: 10)
        )
    }

    // MARK: Reading

    @inline(never)
    private func messages(_ request: Request, _ query: QueryCache.Query) async throws -> [UInt8] {
        let caller = try await reader(request, of: query.room)
        return try query.page.response(
            try await messages.list(caller, query.room, thread: query.thread, page: query.page)
        ).bytes
    }

    @inline(never)
    private func threads(_ request: Request, _ query: QueryCache.Query) async throws -> [UInt8] {
        let caller = try await reader(request, of: query.room)
        return try query.page.response(
            try await conversations.threads(
                caller,
                query.room,
                includeArchived: query.includesArchived,
                page: query.page
            )
        ).bytes
    }

    /// Who asks, for a room that there is.
    private func reader(_ request: Request, of room: UUID) async throws -> Caller {
        let caller = try request.caller()
        guard try await conversations.contact(caller, room) != nil else { throw Problem.notFound }
        return caller
    }
}
