internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON

/// A client that reads server-sent events.
@LoopActor
final class ServerSentClient: LiveClient {
    /// Bytes that wait for a client before it is cut: half of it holds the largest event twice.
    nonisolated static let bufferLimit = 512 * 1024
    /// How long a client waits before it connects again, which every stream begins with.
    nonisolated static let retry = Array("retry: 1000\n\n".utf8)

    let stream = EventStream(bufferLimit: ServerSentClient.bufferLimit)
    private var position: StreamPosition

    init(_ position: StreamPosition) {
        self.position = position
        stream.send(encoded: ServerSentClient.retry)
    }

    func deliver(_ event: LiveEvent, of key: LiveKey) {
        guard let seq = event.seq, position.conversations.count > 1 else {
            stream.send(encoded: event.serverSent)
            return
        }
        position.reached(seq, of: key.conversation)
        stream.send(encoded: LiveEvent.serverSent(event.body, id: position.text))
    }

    func resync(_ key: LiveKey, head: Int64) {
        deliver(.resync(key, head: head), of: key)
    }

    func waitForRoom() async -> Bool {
        await stream.waitForRoom()
    }
}

extension LiveEvent {
    /// Tells a client that it has to read the conversation anew; events after `head` follow.
    static func resync(_ key: LiveKey, head: Int64) -> LiveEvent {
        var body = JSONWriter()
        body.beginObject()
        body.member("seq", head)
        body.member("conversation_id", key.conversation.text)
        body.member("type", "resync_required")
        body.key("data")
        body.null()
        body.member("at", RFC3339.string(WallClock.milliseconds()))
        body.endObject()
        return LiveEvent(seq: head, type: "resync_required", body: body.bytes)
    }
}
