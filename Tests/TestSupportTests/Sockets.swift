import EventLoop
import Foundation
import Glibc

/// A client of a port on loopback; waits on a thread of its own, never on the caller's.
final class Client: Sendable {
    enum Received: Hashable {
        case bytes([UInt8])
        case end
        case reset
        case nothing
    }

    private let descriptor: Int32
    private let queue = DispatchQueue(label: "client")
    let isRefused: Bool

    init(_ port: UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        isRefused = connectLoopback(descriptor, port) != 0
    }

    deinit { close(descriptor) }

    /// Sends everything as long as somebody takes it; returns how many bytes were taken.
    @discardableResult
    func send(_ bytes: [UInt8], patience: Duration = .seconds(10)) async -> Int {
        await onQueue { [descriptor] in
            var sent = 0
            while sent < bytes.count {
                var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                if poll(&waiting, 1, Int32(patience.milliseconds)) <= 0 { return sent }
                let count = bytes[sent...].withUnsafeBytes {
                    let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
                    return Glibc.send(descriptor, $0.baseAddress, $0.count, flags)
                }
                if count < 0 && errno != EAGAIN { return sent }
                sent += max(0, count)
            }
            return sent
        }
    }

    func finish() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// What arrives next; waits at most `span`.
    func receive(within span: Duration = .seconds(10)) async -> Received {
        await onQueue { [descriptor] in
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, Int32(span.milliseconds)) > 0 else { return .nothing }
            var bytes = [UInt8](repeating: 0, count: 65_536)
            let count = recv(descriptor, &bytes, bytes.count, 0)
            if count < 0 { return .reset }
            return count == 0 ? .end : .bytes(Array(bytes[..<count]))
        }
    }

    /// Everything until `count` bytes are there.
    func receive(count: Int) async -> [UInt8] {
        var all: [UInt8] = []
        while all.count < count, case .bytes(let piece) = await receive() { all += piece }
        return all
    }

    private func onQueue<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: work()) }
        }
    }
}

/// Sends back what it gets; a thread for each connection.
final class EchoServer: Sendable {
    private struct Seen {
        var received: [UInt8] = []
        var open = 0
    }

    let port: UInt16
    private let listener: Int32
    private let seen = Guarded(Seen())

    init() {
        (listener, port) = bindLoopback()
        listen(listener, 64)
        Thread.detachNewThread { [self] in
            while true {
                let descriptor = accept(listener, nil, nil)
                if descriptor < 0 { return }
                seen.withLock { $0.open += 1 }
                Thread.detachNewThread { [self] in echo(descriptor) }
            }
        }
    }

    var received: [UInt8] { seen.withLock { $0.received } }
    var open: Int { seen.withLock { $0.open } }

    private func echo(_ descriptor: Int32) {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &bytes, bytes.count, 0)
            if count <= 0 { break }
            seen.withLock { $0.received += bytes[..<count] }
            if send(descriptor, bytes, count, Int32(MSG_NOSIGNAL)) < 0 { break }
        }
        close(descriptor)
        seen.withLock { $0.open -= 1 }
    }
}

/// A bound socket of loopback, not yet listening.
func bindLoopback() -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            precondition(bind(descriptor, $0, size) == 0)
            getsockname(descriptor, $0, &size)
        }
    }
    return (descriptor, UInt16(bigEndian: address.sin_port))
}

private func connectLoopback(_ descriptor: Int32, _ port: UInt16) -> Int32 {
    withUnsafePointer(to: loopback(port)) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}

private func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
}
