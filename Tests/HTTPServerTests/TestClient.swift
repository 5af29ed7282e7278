import EventLoop
import Glibc
import HTTPServer

/// One answer as it came over the wire.
struct WireResponse: Sendable {
    var status = 0
    var fields: [(name: String, value: String)] = []
    var body: [UInt8] = []

    subscript(name: String) -> String? {
        fields.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    var text: String { String(decoding: body, as: UTF8.self) }
}

/// A client on a blocking socket and a thread of its own, so that the loop is never waited for by
/// itself.
final class TestClient: Sendable {
    /// The peer closed, or said nothing for twenty seconds.
    struct NoAnswer: Error {}

    let descriptor: Int32
    private let thread = Offload(name: "test.client")
    private let buffer = Guarded(Inbox())

    init(port: Int, receiveBuffer: Int32? = nil) async throws {
        let made = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        descriptor = made
        try await thread.run {
            if var size = receiveBuffer {
                setsockopt(made, SOL_SOCKET, SO_RCVBUF, &size, 4)
            }
            var timeout = timeval(tv_sec: 20, tv_usec: 0)
            let size = socklen_t(MemoryLayout<timeval>.size)
            setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &timeout, size)
            setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &timeout, size)
            var one: Int32 = 1
            setsockopt(made, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(port).bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(made, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if result != 0 { throw EventLoopError(operation: "connect", errno: errno) }
        }
    }

    private init(sharing client: TestClient) {
        descriptor = dup(client.descriptor)
    }

    /// The same connection, to be read while the other end of it is busy sending.
    func reader() -> TestClient { TestClient(sharing: self) }

    deinit { close(descriptor) }

    func send(_ text: String) async throws {
        try await send(Array(text.utf8))
    }

    func send(_ bytes: [UInt8]) async throws {
        try await thread.run { [descriptor] in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if count <= 0 { throw EventLoopError(operation: "send", errno: errno) }
                rest.removeFirst(count)
            }
        }
    }

    /// Says that nothing will follow.
    func finishSending() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Closes so that the server sees a reset.
    func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_LINGER,
            &option,
            socklen_t(MemoryLayout<linger>.size)
        )
        // The number stays ours until deinit closes it: this only drops the connection.
        var unspecified = sockaddr()
        unspecified.sa_family = sa_family_t(AF_UNSPEC)
        connect(descriptor, &unspecified, socklen_t(MemoryLayout<sockaddr>.size))
    }

    /// Reads one answer; interim ones come out like any other.
    func response(toHead isHead: Bool = false) async throws -> WireResponse {
        try await thread.run { [self] in try readResponse(isHead: isHead) }
    }

    func responses(_ count: Int) async throws -> [WireResponse] {
        try await thread.run { [self] in
            try (0..<count).map { _ in try readResponse(isHead: false) }
        }
    }

    /// Reads until the server closes, and returns everything; nil for a reset.
    func remainder() async throws -> [UInt8]? {
        try await thread.run { [self] in
            while true {
                switch fill() {
                case .more: continue
                case .end:
                    return buffer.withLock { $0.takeAll() }
                case .failed(ECONNRESET): return nil
                case .failed: throw NoAnswer()
                }
            }
        }
    }

    /// Reads at least `count` bytes and leaves nothing in the buffer.
    func bytes(atLeast count: Int) async throws -> [UInt8] {
        try await thread.run { [self] in
            while buffer.withLock({ $0.count }) < count {
                guard case .more = fill() else { throw NoAnswer() }
            }
            return buffer.withLock { $0.takeAll() }
        }
    }

    // MARK: Blocking

    private enum Fill {
        case more, end
        case failed(Int32)
    }

    private func fill() -> Fill {
        var chunk = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        if count == 0 { return .end }
        if count < 0 { return .failed(errno) }
        buffer.withLock { $0.append(chunk[..<count]) }
        return .more
    }

    private func readResponse(isHead: Bool) throws -> WireResponse {
        while true {
            if let response = buffer.withLock({ $0.take(isHead) }) { return response }
            guard case .more = fill() else { throw NoAnswer() }
        }
    }
}

/// What was received, and how much of it was looked at already.
private struct Inbox: Sendable {
    private var bytes: [UInt8] = []
    private var start = 0

    var count: Int { bytes.count - start }

    mutating func append(_ more: ArraySlice<UInt8>) {
        bytes.append(contentsOf: more)
    }

    mutating func takeAll() -> [UInt8] {
        defer { (bytes, start) = ([], 0) }
        return Array(bytes[start...])
    }

    mutating func take(_ isHead: Bool) -> WireResponse? {
        guard let end = headEnd else { return nil }
        let head = String(decoding: bytes[start..<end], as: UTF8.self)
        var lines = head.split(separator: "\r\n")[...]
        var response = WireResponse()
        response.status = Int(lines.removeFirst().split(separator: " ")[1]) ?? 0
        for line in lines {
            let parts = line.split(separator: ":", maxSplits: 1)
            response.fields.append((String(parts[0]), String(parts[1].drop { $0 == " " })))
        }
        let body = end + 4
        let length = isHead ? 0 : Int(response["Content-Length"] ?? "0") ?? 0
        guard bytes.count >= body + length else { return nil }
        response.body = Array(bytes[body..<body + length])
        start = body + length
        // Moving what is left each time would cost the square of a long pipeline.
        if start > 1 << 20 { bytes = takeAll() }
        return response
    }

    private var headEnd: Int? {
        var index = start
        while index + 3 < bytes.count {
            if bytes[index] == 13, bytes[index + 1] == 10, bytes[index + 2] == 13,
                bytes[index + 3] == 10
            {
                return index
            }
            index += 1
        }
        return nil
    }
}
