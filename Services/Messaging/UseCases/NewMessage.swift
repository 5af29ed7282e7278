internal import Crypto
internal import Domain
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Who writes.
struct Sender: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        case contact, agent, bot
    }

    let kind: Kind
    let id: String
}

/// The caller's idempotency key, with what it is bound to.
struct RequestKey: Sendable {
    let key: String
    let method: String
    let path: String
    let bodyHash: [UInt8]

    /// SHA-256 in hex.
    static func hash(_ text: String) -> String {
        Array(SHA256.hash(data: Data(text.utf8))).hexadecimal
    }
}

extension RequestKey {
    /// The key of `request`; nil when it carries none.
    init?(_ request: Request) {
        guard let key = request.context.idempotencyKey else { return nil }
        self.init(
            key: key,
            method: request.method.name,
            path: request.path,
            bodyHash: request.context.bodyHash
        )
    }
}

/// A message to be stored.
struct NewMessage: Sendable {
    let id: UUID
    let conversation: UUID
    let sender: Sender
    let text: String
    let externalID: String?
    let replyTo: UUID?
    let thread: UUID?
    let key: RequestKey?
    let features: TextFeatures
    /// The order to the bot that the text is; `PostMessage` finds it out.
    var control: ControlWord?
    /// What came with the text.
    var attachments: [Attachment] = []
    /// Where the provider shows it: the id of the message there that began the thread.
    var providerThread: String?

    /// A job finds its thread afterwards, or after this long a timer; `nil`: it has one at once.
    var laterAfter: Duration?

    /// What the room's limit counts: the same for a repeat of the request, and of no other kind.
    var member: String {
        if let externalID { return "external:" + externalID }
        return key.map { "key:" + $0.key } ?? NewMessage.member(id)
    }

    /// The same of a message that is stored.
    static func member(_ id: UUID) -> String { "message:" + id.text }

    /// The same in another conversation, where what it refers to is not.
    func moved(to conversation: UUID) -> NewMessage {
        NewMessage(
            id: id,
            conversation: conversation,
            sender: sender,
            text: text,
            externalID: externalID,
            replyTo: nil,
            thread: nil,
            key: key,
            features: features,
            control: control,
            attachments: attachments,
            providerThread: providerThread,
            laterAfter: laterAfter
        )
    }
}

/// An agent's answer, to be stored and delivered.
struct NewReply: Sendable {
    let conversation: UUID
    let sender: Sender
    let text: String
    let thread: UUID?
    let key: RequestKey?
}

/// What dispatch-worker tells of a message request.
struct DeliveryNews: Sendable {
    let request: UUID
    let generation: Int
    let version: Int
    let status: String
    let providerTS: String?
    let error: String?
}

extension UUID {
    /// A version 7 id: it grows with time, so indexes stay dense.
    static func version7(milliseconds: Int64) -> UUID {
        let time = UInt64(bitPattern: milliseconds) << 16
        return UUID(time | 0x7000 | UInt64.random(in: 0...0xfff), UUID.randomLowHalf)
    }

    /// A version 4 id, for tokens.
    ///
    /// As secret as `UUID()`, which opens the system's random device for each id.
    static func version4() -> UUID {
        let random = UInt64.random(in: 0...UInt64.max)
        return UUID(random & ~0xf000 | 0x4000, UUID.randomLowHalf)
    }

    /// Random behind the variant's bits (RFC 9562 section 4.1).
    private static var randomLowHalf: UInt64 {
        UInt64.random(in: 0...UInt64.max) & ~(3 << 62) | 2 << 62
    }
}
