import EventLoop
import Glibc
import Testing

@Suite("Listener and StreamSocket", .timeLimit(.minutes(1)))
@LoopActor
struct SocketTests {
    /// Takes connections and keeps what they say.
    private final class Taker: ListenerDelegate {
        var connections: [Connection] = []
        nonisolated init() {}

        func accepted(_ socket: consuming StreamSocket) {
            let connection = Connection(socket)
            connections.append(connection)
            connection.start()
        }

        func refused(_ socket: consuming StreamSocket) {}
    }

    private final class Connection: Channel {
        var socket: StreamSocket
        var received: [UInt8] = []
        var outcomes: [ReceiveOutcome] = []

        init(_ socket: consuming StreamSocket) { self.socket = socket }

        var isOpen: Bool { socket.isOpen }
        var peer: SocketAddress { socket.peer }

        func send(_ bytes: [UInt8]) -> SendOutcome { socket.send(bytes.span) }

        func start() {
            do { try socket.watch(self, interest: .read) } catch { Issue.record(error) }
        }

        func ready(_ readiness: Readiness) {
            let outcome = socket.receive { received.append(contentsOf: $0[..<$1]) }
            outcomes.append(outcome)
            if outcome == .end { socket.update(interest: []) }
            if case .failed = outcome { socket.close() }
        }
    }

    /// Connects, and keeps the outcome and what the peer says.
    private final class Caller: Channel {
        var socket: StreamSocket
        private(set) var isConnected = false
        private(set) var failure: EventLoopError?
        private(set) var received: [UInt8] = []

        init(_ socket: consuming StreamSocket) { self.socket = socket }

        func start() {
            do { try socket.watch(self, interest: .write) } catch { Issue.record(error) }
        }

        func ready(_ readiness: Readiness) {
            if isConnected {
                _ = socket.receive { received.append(contentsOf: $0[..<$1]) }
                return
            }
            failure = socket.connectFailure()
            isConnected = failure == nil
            if isConnected { socket.update(interest: .read) } else { socket.close() }
        }

        func send(_ bytes: [UInt8]) -> SendOutcome { socket.send(bytes.span) }
        func close() { socket.close() }
    }

    private func until(_ condition: () -> Bool) async throws {
        for _ in 0..<2500 where !condition() {
            try await EventLoop.shared.sleep(for: .milliseconds(2))
        }
        #expect(condition())
    }

    /// A connect to the loopback ends in the kernel; it does not wait for the loop.
    private func connected(_ port: Int) -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return result == 0 ? descriptor : -1
    }

    private func listener(_ host: String, sharesPort: Bool = false) async throws -> Listener {
        try Listener(
            address: try await SocketAddress.resolve(host: host, port: 0),
            sharesPort: sharesPort
        )
    }

    @Test("connecting is told when it is done, and bytes go both ways")
    func connecting() async throws {
        let taker = Taker()
        let listener = try await listener("127.0.0.1")
        try listener.start(taker)
        let caller = Caller(
            try StreamSocket.connecting(toHost: "127.0.0.1", port: listener.address.port)
        )
        caller.start()
        try await until { caller.isConnected && taker.connections.count == 1 }
        #expect(caller.send([1, 2, 3]) == .sent(3))
        try await until { taker.connections[0].received == [1, 2, 3] }
        #expect(taker.connections[0].send([4]) == .sent(1))
        try await until { caller.received == [4] }
        caller.close()
        try await until { taker.connections[0].outcomes.last == .end }
        listener.close()
    }

    @Test("connecting where nobody listens fails with the system's words; a name is no address")
    func connectingToNobody() async throws {
        let caller = Caller(try StreamSocket.connecting(toHost: "127.0.0.1", port: 1))
        caller.start()
        try await until { caller.failure != nil }
        #expect(caller.failure == EventLoopError(operation: "connect", errno: ECONNREFUSED))
        #expect(throws: EventLoopError.self) {
            _ = try StreamSocket.connecting(toHost: "localhost", port: 1)
        }
        #expect(throws: EventLoopError.self) {
            _ = try StreamSocket.connecting(toPath: "/no/such/socket")
        }
        #expect(throws: EventLoopError(operation: "connect", errno: ENAMETOOLONG)) {
            _ = try StreamSocket.connecting(toPath: String(repeating: "a", count: 200))
        }
    }

    @Test("the bound port is reported, and bytes go both ways", arguments: ["127.0.0.1", "*"])
    func bytes(host: String) async throws {
        let taker = Taker()
        let listener = try await listener(host)
        #expect(listener.address.port > 0)
        try listener.start(taker)
        let client = connected(listener.address.port)
        #expect(write(client, "hello", 5) == 5)
        try await until { taker.connections.first?.received.count == 5 }
        let connection = try #require(taker.connections.first)
        #expect(connection.received == Array("hello".utf8))
        #expect(connection.peer.isLoopback)
        #expect(connection.peer.isIPv4)
        #expect(connection.send(Array("back".utf8)) == .sent(4))
        connection.socket.shutdownSending()
        var bytes = [UInt8](repeating: 0, count: 16)
        #expect(read(client, &bytes, 16) == 4)
        #expect(read(client, &bytes, 16) == 0)
        shutdown(client, Int32(SHUT_WR))
        try await until { connection.outcomes.last == .end }
        connection.socket.close()
        connection.socket.close()
        #expect(connection.isOpen == false)
        close(client)
        listener.close()
        listener.close()
    }

    @Test("closing takes every connection that waits first")
    func closeTakesBacklog() async throws {
        let taker = Taker()
        let listener = try await listener("127.0.0.1")
        try listener.start(taker)
        let clients = (0..<100).map { _ in connected(listener.address.port) }
        // No tick has passed: they are all still in the kernel.
        #expect(taker.connections.isEmpty)
        listener.close()
        #expect(taker.connections.count == 100)
        #expect(connected(listener.address.port) == -1)
        for connection in taker.connections { connection.socket.close() }
        for client in clients { close(client) }
    }

    @Test("two listeners share a port only when both say so")
    func sharing() async throws {
        let first = try await listener("127.0.0.1", sharesPort: true)
        let second = try Listener(address: first.address, sharesPort: true)
        #expect(second.address == first.address)
        let alone = try await listener("127.0.0.1")
        #expect(throws: EventLoopError(operation: "bind", errno: EADDRINUSE)) {
            try Listener(address: alone.address, sharesPort: true)
        }
        for listener in [first, second, alone] { listener.close() }
    }

    @Test("an abort reaches the peer as a reset")
    func abort() async throws {
        let taker = Taker()
        let listener = try await listener("127.0.0.1")
        try listener.start(taker)
        let client = connected(listener.address.port)
        try await until { taker.connections.count == 1 }
        taker.connections[0].socket.abort()
        var byte: UInt8 = 0
        #expect(read(client, &byte, 1) == -1)
        #expect(errno == ECONNRESET)
        close(client)
        listener.close()
    }

    @Test("a peer's reset is a failure, and a full buffer blocks")
    func failures() async throws {
        let taker = Taker()
        let listener = try await listener("127.0.0.1")
        try listener.start(taker)
        let client = connected(listener.address.port)
        try await until { taker.connections.count == 1 }
        let connection = taker.connections[0]
        let chunk = [UInt8](repeating: 0, count: 1 << 20)
        var outcome = connection.send(chunk)
        for _ in 0..<100 where outcome != .wouldBlock {
            outcome = connection.send(chunk)
        }
        #expect(outcome == .wouldBlock)
        // Unread bytes make the close a reset.
        close(client)
        try await until { !connection.isOpen }
        #expect(
            connection.outcomes == [
                .failed(EventLoopError(operation: "recv", errno: ECONNRESET))
            ]
        )
        listener.close()
    }
}

@Suite("SocketAddress")
struct SocketAddressTests {
    nonisolated static let rows: [(String, String, Bool, Bool)] = [
        ("127.0.0.1", "127.0.0.1:80", true, true), ("10.0.0.200", "10.0.0.200:80", true, false),
        ("::1", "[::1]:80", false, true), ("2001:db8::7", "[2001:db8::7]:80", false, false),
        ("*", "[::]:80", false, false), ("::ffff:127.0.0.1", "127.0.0.1:80", true, true),
        ("0.0.0.0", "0.0.0.0:80", true, false),
    ]

    @Test("digits are read and written", arguments: rows)
    func numeric(host: String, text: String, isIPv4: Bool, isLoopback: Bool) throws {
        let address = try #require(SocketAddress(numeric: host, port: 80))
        #expect(address.description == text)
        #expect(address.isIPv4 == isIPv4)
        #expect(address.isLoopback == isLoopback)
    }

    @Test("names are not digits, and are looked up", arguments: ["localhost"])
    func names(host: String) async throws {
        #expect(SocketAddress(numeric: host, port: 1) == nil)
        #expect(try await SocketAddress.resolve(host: host, port: 1).isLoopback)
        await #expect(throws: EventLoopError.self) {
            try await SocketAddress.resolve(host: "no such host", port: 1)
        }
    }

    @Test("one peer is an IPv4 address, or an IPv6 /64")
    func peerGroup() throws {
        func group(_ host: String, _ port: Int) throws -> SocketAddress {
            try #require(SocketAddress(numeric: host, port: port)).peerGroup
        }
        #expect(try group("10.0.0.1", 1) == group("10.0.0.1", 2))
        #expect(try group("10.0.0.1", 1) != group("10.0.0.2", 1))
        #expect(try group("2001:db8::1", 1) == group("2001:db8::2:3", 9))
        #expect(try group("2001:db8::1", 1) != group("2001:db8:0:1::1", 1))
    }
}
