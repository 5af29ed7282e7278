internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer

/// A conversation as wake-ups name it.
struct LiveRoom: Sendable, Hashable {
    /// The tenant's code.
    let tenant: String
    let conversation: UUID
}

/// A conversation whose events are followed.
struct LiveKey: Sendable, Hashable {
    /// The tenant's id.
    let tenant: UUID
    let room: LiveRoom

    var conversation: UUID { room.conversation }

    init(_ caller: Caller, _ conversation: UUID) {
        tenant = caller.tenant
        room = LiveRoom(tenant: caller.code, conversation: conversation)
    }
}

/// One event on its way to clients: rendered once, encoded once for each kind of client.
@LoopActor
final class LiveEvent {
    /// Its place in the conversation's log; `nil` for what is told once and kept nowhere (presence).
    let seq: Int64?
    /// Its type, such as `message.created`.
    let type: String
    /// The document, as JSON.
    let body: [UInt8]
    /// As a server-sent event whose id is the seq.
    private(set) lazy var serverSent = LiveEvent.serverSent(body, id: seq.map { String($0) })

    /// As a message of a WebSocket.
    private(set) lazy var frame = WebSocket.encode(text: body)

    /// As an event of Socket.IO.
    private(set) lazy var socketIO = SocketIOPacket.event(type, body)

    init(seq: Int64?, type: String, body: [UInt8]) {
        self.seq = seq
        self.type = type
        self.body = body
    }

    /// The bytes of a server-sent event with another id.
    nonisolated static func serverSent(_ body: [UInt8], id: String?) -> [UInt8] {
        EventStream.encode(id: id, data: String(decoding: body, as: UTF8.self))
    }
}

/// Somebody who follows conversations.
@LoopActor
protocol LiveClient: AnyObject {
    /// Sends an event; what the client does not take in time ends it.
    func deliver(_ event: LiveEvent, of key: LiveKey)
    /// Tells that events are gone that the client has not seen: it has to read the conversation
    /// anew, and goes on after `head`.
    func resync(_ key: LiveKey, head: Int64)
    /// Waits until the client has room for more; false when it has gone.
    func waitForRoom() async -> Bool
}
