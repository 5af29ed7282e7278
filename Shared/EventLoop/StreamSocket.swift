internal import CLinux
internal import Glibc

/// What came of reading a socket.
public enum ReceiveOutcome: Sendable, Hashable {
    /// So many bytes were handed out.
    case received(Int)
    /// Nothing is there now; wait for readiness.
    case wouldBlock
    /// The peer has closed its side: no byte will follow.
    case end
    /// The connection is broken.
    case failed(EventLoopError)
}

/// What came of writing a socket.
public enum SendOutcome: Sendable, Hashable {
    /// So many of the bytes were taken; fewer than given when the kernel's buffer is full.
    case sent(Int)
    /// The kernel's buffer is full; wait for readiness.
    case wouldBlock
    /// The connection is broken.
    case failed(EventLoopError)
}

/// A connected, non-blocking socket, closed exactly once.
///
/// Reading goes through one buffer that all sockets of the loop share, so that an idle connection
/// owns no bytes; what a caller wants to keep it copies.
@LoopActor
public struct StreamSocket: ~Copyable {
    /// How many bytes one ``receive(_:)`` takes at most.
    public static let receiveSize = 64 * 1024

    private(set) var descriptor: Int32
    private var registration: Registration?
    /// The other end.
    public let peer: SocketAddress

    private static var buffer = [UInt8](repeating: 0, count: receiveSize)
    private static var isBufferLent = false

    init(descriptor: Int32, peer: SocketAddress) {
        self.descriptor = descriptor
        self.peer = peer
    }

    /// Whether ``close()`` was not called yet.
    public var isOpen: Bool { descriptor >= 0 }

    /// Has `channel` told of readiness; the loop keeps it alive until ``close()``.
    ///
    /// - Throws: `EventLoopError` when the kernel refuses.
    public mutating func watch(
        _ channel: any Channel,
        interest: Interest
    ) throws(EventLoopError) {
        registration = try EventLoop.shared.add(
            channel,
            descriptor: descriptor,
            interest: interest
        )
    }

    /// Changes what the channel is told of; free when nothing changes.
    public func update(interest: Interest) {
        guard let registration else { return }
        EventLoop.shared.update(registration, interest: interest)
    }

    /// Reads once and hands the loop's buffer to `body`, with the count of bytes at its start.
    ///
    /// `body` may not read another socket. What it wants to keep it copies: an array kept whole
    /// would cost the next read a copy of all of it.
    public func receive(_ body: (_ buffer: [UInt8], _ count: Int) -> Void) -> ReceiveOutcome {
        precondition(!StreamSocket.isBufferLent, "a socket was read inside another's read")
        while true {
            let count = StreamSocket.buffer.withUnsafeMutableBytes { buffer in
                recv(descriptor, buffer.baseAddress, buffer.count, 0)
            }
            if count > 0 {
                StreamSocket.isBufferLent = true
                defer { StreamSocket.isBufferLent = false }
                body(StreamSocket.buffer, count)
                return .received(count)
            }
            if count == 0 { return .end }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: return .failed(EventLoopError(operation: "recv", errno: errno))
            }
        }
    }

    /// Writes once, as much as the kernel takes.
    public func send(_ bytes: Span<UInt8>) -> SendOutcome {
        while true {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.send(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 { return .sent(count) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: return .failed(EventLoopError(operation: "send", errno: errno))
            }
        }
    }

    /// Tells the peer that no byte will follow; reading goes on.
    public func shutdownSending() {
        // ENOTCONN means that the peer is gone already, which the next read tells as well.
        _ = shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Stops watching and closes; a second call does nothing.
    public mutating func close() {
        guard descriptor >= 0 else { return }
        if let registration { EventLoop.shared.remove(registration) }
        registration = nil
        // Linux gives the number back even when close reports an error: never twice.
        _ = Glibc.close(descriptor)
        descriptor = -1
    }

    /// Closes with a reset, so that the peer learns that the stream was cut and not ended.
    public mutating func abort() {
        guard descriptor >= 0 else { return }
        var option = linger(l_onoff: 1, l_linger: 0)
        _ = setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_LINGER,
            &option,
            socklen_t(MemoryLayout<linger>.size)
        )
        close()
    }

    deinit {
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
    }
}
