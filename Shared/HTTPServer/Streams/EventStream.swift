public import EventLoop

/// What an ``EventStream`` needs of the connection that carries it.
@LoopActor
protocol EventStreamCarrier: AnyObject {
    /// There are bytes to take, or the stream was closed.
    func streamChanged()
    /// The reader is too slow.
    func streamOverflowed()
}

/// A stream of server-sent events to one client.
///
/// A handler returns it in ``Response/events(_:)`` and somebody goes on sending. What the client has
/// not taken waits in a bounded buffer: a reader that lets it run full is cut, and finds its place
/// again by `Last-Event-ID`.
@LoopActor
public final class EventStream {
    /// Bytes that wait for the client before it is cut, unless said otherwise.
    public nonisolated static let bufferLimitDefault = 256 * 1024

    /// Why a stream is no longer open.
    public enum End: Sendable, Hashable {
        /// The sender closed it, or the server drains.
        case closed
        /// The client has gone.
        case clientGone
        /// The client did not read, and the buffer was full.
        case overflow
    }

    /// Bytes that may wait for the client.
    public let bufferLimit: Int
    /// Why the stream ended; nil while it is open.
    public private(set) var end: End?
    /// Called once, when the stream ends, whatever the reason.
    public var onEnd: (@LoopActor (End) -> Void)?

    private var waiting: [UInt8] = []
    /// Bytes that left ``waiting`` for the connection and are not out yet.
    private var inOutput = 0
    private weak var carrier: (any EventStreamCarrier)?
    private var writers: [CheckedContinuation<Void, Never>] = []

    /// A stream that nobody reads yet; what is sent before waits in the buffer.
    public nonisolated init(bufferLimit: Int = EventStream.bufferLimitDefault) {
        self.bufferLimit = bufferLimit
    }

    /// Whether events still reach the client.
    public var isOpen: Bool { end == nil }

    /// Bytes that the client has not taken yet.
    public var bufferedBytes: Int { waiting.count + inOutput }

    /// Sends one event; false when the stream has ended, or just now by this.
    @discardableResult
    public func send(id: String? = nil, event: String? = nil, data: String) -> Bool {
        send(encoded: EventStream.encode(id: id, event: event, data: data))
    }

    /// Sends an event that ``encode(id:event:data:)`` made, once for many streams.
    @discardableResult
    public func send(encoded: [UInt8]) -> Bool {
        guard isOpen else { return false }
        guard bufferedBytes + encoded.count <= bufferLimit else {
            finish(.overflow)
            carrier?.streamOverflowed()
            return false
        }
        waiting.append(contentsOf: encoded)
        carrier?.streamChanged()
        return true
    }

    /// Waits until less than half of the buffer is full; false when the stream has ended.
    ///
    /// For senders with much to tell at once, such as a missed history.
    public func waitForRoom() async -> Bool {
        while isOpen && bufferedBytes > bufferLimit / 2 {
            await withCheckedContinuation { writers.append($0) }
        }
        return isOpen
    }

    /// Ends the stream after what was sent.
    public func close() {
        finish(.closed)
        carrier?.streamChanged()
    }

    /// The bytes of one event (WHATWG HTML, 9.2.5).
    ///
    /// Line ends in `data` become further `data` lines; `id` and `event` lose theirs.
    public nonisolated static func encode(
        id: String? = nil,
        event: String? = nil,
        data: String
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(data.utf8.count + 32)
        if let id { appendLine("id: ", id, to: &bytes) }
        if let event { appendLine("event: ", event, to: &bytes) }
        bytes.append(contentsOf: "data: ".utf8)
        var previous: UInt8 = 0
        for byte in data.utf8 {
            if byte == .lineFeed && previous == .carriageReturn {
                // The second half of a line end that is written already.
            } else if byte == .lineFeed || byte == .carriageReturn {
                bytes.append(contentsOf: "\ndata: ".utf8)
            } else {
                bytes.append(byte)
            }
            previous = byte
        }
        bytes.append(contentsOf: "\n\n".utf8)
        return bytes
    }

    private nonisolated static func appendLine(
        _ name: String,
        _ value: String,
        to bytes: inout [UInt8]
    ) {
        bytes.append(contentsOf: name.utf8)
        for byte in value.utf8 where byte != .lineFeed && byte != .carriageReturn && byte != 0 {
            bytes.append(byte)
        }
        bytes.append(.lineFeed)
    }

    // MARK: The connection's side

    func attach(_ carrier: any EventStreamCarrier) {
        self.carrier = carrier
    }

    /// Hands over what waits; ``wrote(unsent:)`` tells what became of it.
    func takeWaiting() -> [UInt8] {
        var taken: [UInt8] = []
        swap(&taken, &waiting)
        inOutput += taken.count
        return taken
    }

    /// So many bytes are not out yet.
    func wrote(unsent: Int) {
        inOutput = unsent
        if bufferedBytes <= bufferLimit / 2 { resumeWriters() }
    }

    /// Ends the stream for a reason; only the first one counts.
    func finish(_ reason: End) {
        guard end == nil else { return }
        end = reason
        let action = onEnd
        onEnd = nil
        action?(reason)
        resumeWriters()
    }

    private func resumeWriters() {
        let resumed = writers
        writers.removeAll()
        for writer in resumed { writer.resume() }
    }
}
