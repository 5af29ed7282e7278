import EventLoop
import Foundation
import Glibc

/// A request as it came over the wire.
struct StubRequest: Sendable, Hashable {
    let line: String
    /// Lines of the head below the first.
    let fields: [String]
    let body: [UInt8]

    func has(_ name: String) -> Bool {
        fields.contains { $0.lowercased().hasPrefix(name.lowercased() + ":") }
    }
}

/// A server on loopback that does to every connection what the test says; a thread for each.
final class StubServer: Sendable {
    struct Seen {
        var connections = 0
        var requests: [StubRequest] = []
        var open: Set<Int32> = []
        var isStopped = false
    }

    let port: UInt16
    private let listener: Int32
    private let seen = Guarded(Seen())

    init(backlog: Int32 = 512, _ behaviour: @escaping @Sendable (StubConnection) -> Void) {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var yes: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        port = withUnsafeMutablePointer(to: &address) { [listener] in
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                precondition(bind(listener, $0, size) == 0 && listen(listener, backlog) == 0)
                getsockname(listener, $0, &size)
            }
            return UInt16(bigEndian: $0.pointee.sin_port)
        }
        Thread.detachNewThread { [self] in acceptAll(behaviour) }
    }

    /// A server that answers each request of each connection in turn.
    static func answering(
        _ answer: @escaping @Sendable (StubRequest) -> String
    ) -> StubServer {
        StubServer { connection in
            while let request = connection.readRequest() { connection.send(answer(request)) }
        }
    }

    deinit { stop() }

    var url: String { "http://127.0.0.1:\(port)" }
    var connections: Int { seen.withLock { $0.connections } }
    var openConnections: Int { seen.withLock { $0.open.count } }
    var requests: [StubRequest] { seen.withLock { $0.requests } }

    /// Stops listening and breaks what is connected.
    func stop() {
        let open = seen.withLock { seen -> Set<Int32>? in
            defer { seen.isStopped = true }
            return seen.isStopped ? nil : seen.open
        }
        guard let open else { return }
        stopListening()
        for descriptor in open { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }

    func stopListening() {
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private func acceptAll(_ behaviour: @escaping @Sendable (StubConnection) -> Void) {
        while true {
            let descriptor = accept(listener, nil, nil)
            if descriptor < 0 && errno == EINTR { continue }
            guard descriptor >= 0 else { break }
            let index = seen.withLock { seen in
                seen.connections += 1
                seen.open.insert(descriptor)
                return seen.connections
            }
            Thread.detachNewThread { [self] in
                let connection = StubConnection(descriptor, index: index) { [self] request in
                    seen.withLock { $0.requests.append(request) }
                }
                behaviour(connection)
                seen.withLock { _ = $0.open.remove(descriptor) }
                close(descriptor)
            }
        }
        close(listener)
    }
}

/// One connection of a ``StubServer``, used by its thread only.
final class StubConnection {
    /// 1 for the first connection that the server accepted.
    let index: Int
    private let descriptor: Int32
    private let note: (StubRequest) -> Void
    private var input: [UInt8] = []

    init(_ descriptor: Int32, index: Int, _ note: @escaping (StubRequest) -> Void) {
        self.descriptor = descriptor
        self.index = index
        self.note = note
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, 4)
    }

    /// The next request with its body; `nil` when the client has closed.
    func readRequest() -> StubRequest? {
        while true {
            if let request = takeRequest() {
                note(request)
                return request
            }
            if !readMore() { return nil }
        }
    }

    /// Waits for more bytes; `false` at the end of the stream.
    func readMore() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return false }
        input.append(contentsOf: buffer[..<count])
        return true
    }

    /// Reads and drops until the client closes.
    func readToEnd() {
        while readMore() { input.removeAll() }
    }

    @discardableResult func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    /// Sends everything; `false` when the client is gone.
    @discardableResult func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Makes the coming close a reset.
    func resetAtClose() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_LINGER,
            &linger,
            socklen_t(MemoryLayout.size(ofValue: linger))
        )
    }

    private func takeRequest() -> StubRequest? {
        guard let end = input.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let head = String(decoding: input[..<end.lowerBound], as: UTF8.self)
        var fields = head.components(separatedBy: "\r\n")
        let line = fields.removeFirst()
        let length =
            fields.first { $0.lowercased().hasPrefix("content-length:") }
            .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) } ?? 0
        guard input.count >= end.upperBound + length else { return nil }
        let body = Array(input[end.upperBound..<end.upperBound + length])
        input.removeFirst(end.upperBound + length)
        return StubRequest(line: line, fields: fields, body: body)
    }
}

/// An answer with a Content-Length.
func answer(_ body: String = "ok", status: Int = 200, _ fields: String...) -> String {
    let lines = fields.map { $0 + "\r\n" }.joined()
    return "HTTP/1.1 \(status) X\r\nContent-Length: \(body.utf8.count)\r\n\(lines)\r\n\(body)"
}

/// Something that a stub's thread tells the test.
final class Flag: Sendable {
    private let state = Guarded(false)
    func raise() { state.withLock { $0 = true } }
    var isRaised: Bool { state.withLock { $0 } }
}
