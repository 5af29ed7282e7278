internal import EventLoop
internal import Glibc

/// A client's connection and the one to the server behind it.
final class FaultProxyLink {
    private var client: Int32
    /// -1 until the server is called, and after it was cut off.
    private var server: Int32 = -1
    private var toServer = FaultProxyPipe()
    private var toClient = FaultProxyPipe()
    /// The server's side is gone and the client does not know.
    private var isCutOff = false

    init(client: Int32) {
        self.client = client
        FaultProxyLink.sendAtOnce(client)
    }

    var isClosed: Bool { client < 0 }

    /// Does what a mode does to a connection by itself, without any byte moving.
    func apply(_ mode: FaultProxy.Mode, _ upstream: SocketAddress) {
        guard !isClosed else { return }
        switch mode {
        case .reset: reset()
        case .blackHole: break
        case .halfOpen: cutOff()
        case .pass, .resetOnAnswer, .trickle, .delay:
            guard server < 0 && !isCutOff else { return }
            server = upstream.connect()
            if server < 0 { reset() } else { FaultProxyLink.sendAtOnce(server) }
        }
    }

    /// Says what to wait for, in readiness or in time.
    func addInterest(
        _ mode: FaultProxy.Mode,
        _ now: MonotonicTime,
        _ descriptors: inout [pollfd],
        _ wait: inout Duration
    ) {
        guard !isClosed, mode != .blackHole else { return }
        if isCutOff {
            descriptors.append(pollfd(fd: client, events: Int16(POLLIN), revents: 0))
            return
        }
        let sides = [(client, toServer, toClient), (server, toClient, toServer)]
        for (descriptor, input, output) in sides {
            var events: Int32 = input.wantsInput ? POLLIN : 0
            switch output.timeUntilOutput(now) {
            case nil: break
            case .some(let span) where span <= .zero: events |= POLLOUT
            case .some(let span): wait = min(wait, span)
            }
            // Without an interest a closed peer would wake the thread again and again.
            if events != 0 {
                descriptors.append(pollfd(fd: descriptor, events: Int16(events), revents: 0))
            }
        }
    }

    /// Moves what can be moved now.
    func move(_ mode: FaultProxy.Mode, _ now: MonotonicTime) {
        guard !isClosed, mode != .blackHole else { return }
        if isCutOff { return swallow(isHealed: mode != .halfOpen) }
        guard toServer.read(client, mode, now), toClient.read(server, mode, now) else {
            return reset()
        }
        if mode == .resetOnAnswer && toClient.hasBytes { return reset() }
        guard toServer.write(server, mode, now), toClient.write(client, mode, now) else {
            return reset()
        }
        if toServer.isDone && toClient.isDone { close() }
    }

    /// Closes both sides so that the peers see a reset.
    func reset() {
        for descriptor in [client, server] where descriptor >= 0 {
            var linger = linger(l_onoff: 1, l_linger: 0)
            let size = socklen_t(MemoryLayout.size(ofValue: linger))
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, size)
        }
        close()
    }

    private func close() {
        for descriptor in [client, server] where descriptor >= 0 { Glibc.close(descriptor) }
        client = -1
        server = -1
    }

    private func cutOff() {
        if server >= 0 { Glibc.close(server) }
        server = -1
        isCutOff = true
    }

    private func swallow(isHealed: Bool) {
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(client, &bytes, bytes.count, 0)
            if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
            if count <= 0 { return close() }
            if isHealed { return reset() }
        }
    }

    private static func sendAtOnce(_ descriptor: Int32) {
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, 4)
    }
}

/// One direction of a link: bytes on their way, and when they may go on.
struct FaultProxyPipe {
    private struct Piece {
        var bytes: ArraySlice<UInt8>
        let due: MonotonicTime
    }

    private var pieces: [Piece] = []
    private var count = 0
    private var nextWrite = MonotonicTime(nanoseconds: 0)
    private var hasEnd = false
    /// The end of the stream was passed on.
    private(set) var isDone = false

    var hasBytes: Bool { count > 0 }
    var wantsInput: Bool { !hasEnd && count < FaultProxy.bufferLimit }

    /// `nil` when there is nothing to write; zero or less when it may be written.
    func timeUntilOutput(_ now: MonotonicTime) -> Duration? {
        guard let first = pieces.first else { return nil }
        return max(first.due, nextWrite) - now
    }

    /// Reads what is there; `false` when the connection broke.
    mutating func read(_ from: Int32, _ mode: FaultProxy.Mode, _ now: MonotonicTime) -> Bool {
        var due = now
        if case .delay(let span) = mode { due = now + span }
        var bytes = [UInt8](repeating: 0, count: 16_384)
        while wantsInput {
            let got = recv(from, &bytes, bytes.count, 0)
            if got < 0 { return errno == EAGAIN || errno == EINTR || errno == ENOTCONN }
            if got == 0 {
                hasEnd = true
                return true
            }
            pieces.append(Piece(bytes: bytes[..<got], due: due))
            count += got
        }
        return true
    }

    /// Writes what may go; `false` when the connection broke.
    mutating func write(_ to: Int32, _ mode: FaultProxy.Mode, _ now: MonotonicTime) -> Bool {
        while let first = pieces.first, first.due <= now, nextWrite <= now {
            var size = first.bytes.count
            if case .trickle(let rate) = mode { size = min(size, max(1, rate / 100)) }
            let sent = first.bytes.withUnsafeBytes {
                send(to, $0.baseAddress, size, Int32(MSG_NOSIGNAL))
            }
            if sent < 0 { return errno == EAGAIN || errno == EINTR || errno == ENOTCONN }
            count -= sent
            pieces[0].bytes.removeFirst(sent)
            if pieces[0].bytes.isEmpty { pieces.removeFirst() }
            if case .trickle(let rate) = mode {
                nextWrite = now + .nanoseconds(Int64(sent) * 1_000_000_000 / Int64(max(1, rate)))
            }
        }
        if hasEnd && pieces.isEmpty && !isDone {
            shutdown(to, Int32(SHUT_WR))
            isDone = true
        }
        return true
    }
}
