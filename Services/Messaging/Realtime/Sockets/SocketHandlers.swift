internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import struct Platform.UnexpectedAnswer

/// `connection.*`: which conversations a socket follows.
@LoopActor
struct ConnectionHandler: SocketHandler {
    let sessions: UserSessionService

    var events: [String: SocketEvent] {
        [
            "connection.join": SocketEvent(.viewer, join),
            "connection.leave": SocketEvent(.viewer) { call in
                let conversation = try call.fields { $0.conversation() }
                call.peer.leave(conversation)
                try await sessions.leave(
                    call.caller,
                    call.session.socket,
                    session: UUID(text: call.session.id),
                    conversation: conversation
                )
                return Array("{}".utf8)
            },
        ]
    }

    private func join(_ call: SocketCall) async throws -> [UInt8] {
        let (conversation, since) = try call.fields { fields in
            (fields.conversation(), fields.optionalInt("since", in: 0...Int(Int32.max)))
        }
        try await call.peer.follow(conversation, since: since.map { Int64($0) })
        return try await call.come(into: conversation, sessions)
    }
}

extension SocketCall {
    /// Has the call's session come into a conversation, and its peer speak for it from now on.
    ///
    /// - Returns: the session's document.
    @discardableResult
    func come(
        into conversation: UUID,
        _ sessions: UserSessionService,
        isOpen: Bool = false
    ) async throws -> [UInt8] {
        let outcome = try await sessions.registerUser(
            caller,
            socket: session.socket,
            user: session.user,
            conversation: conversation,
            isOpen: isOpen
        )
        switch outcome.name {
        case "taken": throw Problem.conflict("socket_taken", "the socket is another user's")
        case "unknown_conversation": throw Problem.notFound
        case "too_many_conversations": throw SessionRoutes.tooMany
        default: break
        }
        guard let session = Session(try JSON(parsing: outcome.answer)) else {
            throw UnexpectedAnswer(function: "messaging.register_user")
        }
        try await peer.join(session)
        return outcome.answer
    }
}

/// `thread.*`: threads made and changed by hand.
@LoopActor
struct ThreadHandler: SocketHandler {
    let threads: ThreadRepository
    let committed: @LoopActor (Caller, UUID?) async -> Void

    var events: [String: SocketEvent] {
        [
            "thread.create": SocketEvent { call in
                let (conversation, title) = try call.fields { fields in
                    (
                        fields.conversation(),
                        fields.string("title", length: 1...ThreadRoutes.titleMax)
                    )
                }
                return try await answer(
                    call,
                    try await threads.create(call.caller, in: conversation, title: title)
                )
            },
            "thread.rename": SocketEvent { call in
                let (thread, title) = try call.fields { fields in
                    (
                        fields.uuid("thread_id"),
                        fields.string("title", length: 1...ThreadRoutes.titleMax)
                    )
                }
                return try await answer(
                    call,
                    try await threads.change(call.caller, thread, title: title)
                )
            },
            "thread.archive": SocketEvent { call in
                let thread = try call.fields { $0.uuid("thread_id") }
                return try await answer(
                    call,
                    try await threads.change(call.caller, thread, isArchived: true)
                )
            },
        ]
    }

    private func answer(_ call: SocketCall, _ outcome: Outcome) async throws -> [UInt8] {
        let thread = try ThreadCorrection.answer(outcome)
        await committed(call.caller, try JSON(parsing: thread)["conversation_id"]?.uuidValue)
        return thread
    }
}

/// `navigation.*`: what a user looks at.
@LoopActor
struct NavigationHandler: SocketHandler {
    let sessions: UserSessionService
    let conversations: ConversationRepository

    var events: [String: SocketEvent] {
        [
            "navigation.open": SocketEvent(.viewer) { call in
                let conversation = try call.fields { $0.conversation() }
                guard
                    let document = try await conversations.find(call.caller, conversation)
                else { throw Problem.notFound }
                try await call.come(into: conversation, sessions, isOpen: true)
                return document
            }
        ]
    }
}

/// `message.edit`, `message.delete`: messages changed afterwards.
@LoopActor
struct MessageOperationsHandler: SocketHandler {
    let correction: ThreadCorrection
    let committed: @LoopActor (Caller, UUID?) async -> Void

    var events: [String: SocketEvent] {
        [
            "message.edit": SocketEvent { call in
                let (message, text) = try call.fields { fields in
                    (
                        fields.uuid("message_id"),
                        fields.string("text", length: 1...MessageRoutes.textMax)
                    )
                }
                return try await change(call, message, text)
            },
            "message.delete": SocketEvent { call in
                try await change(call, try call.fields { $0.uuid("message_id") }, nil)
            },
        ]
    }

    private func change(
        _ call: SocketCall,
        _ message: UUID,
        _ text: String?
    ) async throws -> [UInt8] {
        let answer = try await correction.change(call.caller, message: message, text: text)
        await committed(call.caller, try JSON(parsing: answer)["conversation_id"]?.uuidValue)
        return answer
    }
}

/// `message.send`: an agent writes into a conversation.
@LoopActor
struct SendMessageHandler: SocketHandler {
    let post: PostMessage
    let committed: @LoopActor (Caller, UUID, _ bot: [UInt8]?) async -> Void

    var events: [String: SocketEvent] { ["message.send": SocketEvent(.agent, send)] }

    private func send(_ call: SocketCall) async throws -> [UInt8] {
        let user = call.session.user
        let message = try call.fields { fields in
            let text = fields.string("text", length: 1...MessageRoutes.textMax)
            return NewMessage(
                id: .version7(milliseconds: WallClock.milliseconds()),
                conversation: fields.conversation(),
                sender: Sender(kind: .agent, id: user),
                text: text,
                externalID: fields.optionalString("external_id", length: 1...255),
                replyTo: fields.optionalUUID("reply_to"),
                thread: fields.optionalUUID("thread_id"),
                key: nil,
                features: TextFeatures(text, author: user)
            )
        }
        let outcome = try await post.execute(call.caller, message)
        if outcome.name == "created" {
            await committed(call.caller, message.conversation, outcome.bot)
        }
        return try MessageRoutes.response(to: outcome).bytes
    }
}

/// `contact.*`: what is known of a contact.
@LoopActor
struct ContactHandler: SocketHandler {
    let people: PeopleRepository

    var events: [String: SocketEvent] {
        [
            "contact.update": SocketEvent { call in
                let (contact, name) = try call.fields { fields in
                    (fields.uuid("contact_id"), fields.string("name", length: 1...200))
                }
                let outcome = try await people.rename(call.caller, contact: contact, to: name)
                guard outcome.name == "updated" else { throw Problem.notFound }
                return outcome.answer
            }
        ]
    }
}

/// `feedback.*`: what users think of a message.
@LoopActor
struct FeedbackHandler: SocketHandler {
    enum Rating: String, CaseIterable {
        case up, down
    }

    let people: PeopleRepository

    var events: [String: SocketEvent] {
        [
            "feedback.submit": SocketEvent { call in
                let (message, rating, comment) = try call.fields { fields in
                    (
                        fields.uuid("message_id"),
                        fields.choice("rating", of: Rating.self).rawValue,
                        fields.optionalString("comment", length: 1...2000)
                    )
                }
                let outcome = try await people.feedback(
                    call.caller,
                    of: call.session.user,
                    on: message,
                    rating: rating,
                    comment: comment
                )
                guard outcome != "not_found" else { throw Problem.notFound }
                return JSON.object(["outcome": .string(outcome)]).serialized()
            }
        ]
    }
}
