import EventLoop
import Foundation
import Synchronization
import Testing
import TestSupport

@Suite("FaultProxy", .timeLimit(.minutes(1)))
@LoopActor struct FaultProxyTests {
    @Test("pass: bytes go through both ways, whole and in order, and so does the end")
    func pass() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(upstreamPort: server.port)
        let client = Client(proxy.port)
        var bytes = [UInt8](repeating: 0x61, count: 1_000_000)
        for index in stride(from: 0, to: bytes.count, by: 997) {
            bytes[index] = UInt8(index & 0xFF)
        }
        // Less than the kernel and the proxy keep, so that nobody has to read meanwhile.
        let half = bytes.count / 2
        await client.send(Array(bytes[..<half]))
        #expect(await client.receive(count: half) == Array(bytes[..<half]))
        await client.send(Array(bytes[half...]))
        client.finish()
        #expect(await client.receive(count: half) == Array(bytes[half...]))
        #expect(await client.receive() == .end)
        #expect(proxy.connectionsAccepted == 1)
    }

    @Test("reset: existing and new connections are reset; after healing new ones work")
    func reset() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(upstreamPort: server.port)
        let old = Client(proxy.port)
        await old.send([1])
        #expect(await old.receive() == .bytes([1]))
        proxy.mode = .reset
        #expect(await old.receive() == .reset)
        let new = Client(proxy.port)
        #expect(await new.receive() == .reset)
        proxy.mode = .pass
        let healed = Client(proxy.port)
        await healed.send([2])
        #expect(await healed.receive() == .bytes([2]))
        #expect(server.received == [1, 2])
    }

    @Test("resetOnAnswer: the server has the request, the client has nothing")
    func resetOnAnswer() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(upstreamPort: server.port, mode: .resetOnAnswer)
        let client = Client(proxy.port)
        await client.send([1, 2, 3])
        #expect(await client.receive() == .reset)
        #expect(server.received == [1, 2, 3])
    }

    @Test("blackHole: nothing arrives and nobody is told; after healing everything arrives")
    func blackHole() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(upstreamPort: server.port)
        let old = Client(proxy.port)
        await old.send([1])
        #expect(await old.receive() == .bytes([1]))
        proxy.mode = .blackHole
        let new = Client(proxy.port)
        await old.send([2])
        #expect(await old.receive(within: .milliseconds(100)) == .nothing)
        await new.send([3])
        #expect(await new.receive(within: .milliseconds(100)) == .nothing)
        #expect(server.received == [1])
        proxy.mode = .pass
        #expect(await old.receive() == .bytes([2]))
        #expect(await new.receive() == .bytes([3]))
    }

    @Test("halfOpen: the server sees the end, the client nothing until it sends after healing")
    func halfOpen() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(upstreamPort: server.port)
        let client = Client(proxy.port)
        await client.send([1])
        #expect(await client.receive() == .bytes([1]))
        proxy.mode = .halfOpen
        #expect(try await eventually { server.open == 0 })
        await client.send([2])
        #expect(await client.receive(within: .milliseconds(100)) == .nothing)
        proxy.mode = .pass
        #expect(await client.receive(within: .milliseconds(100)) == .nothing)
        await client.send([3])
        #expect(await client.receive() == .reset)
        #expect(server.received == [1])
    }

    @Test("trickle: bytes come one by one")
    func trickle() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(upstreamPort: server.port, mode: .trickle(bytesPerSecond: 50))
        let client = Client(proxy.port)
        let start = MonotonicTime.now()
        await client.send(Array(1...10))
        var pieces: [[UInt8]] = []
        while pieces.flatMap({ $0 }).count < 10, case .bytes(let piece) = await client.receive() {
            pieces.append(piece)
        }
        #expect(pieces.flatMap { $0 } == Array(1...10))
        // Nine gaps of 20 ms.
        #expect(MonotonicTime.now() - start >= .milliseconds(180))
    }

    @Test("delay: bytes come later, whole")
    func delay() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(
            upstreamPort: server.port,
            mode: .delay(.milliseconds(60))
        )
        let client = Client(proxy.port)
        let start = MonotonicTime.now()
        await client.send([1, 2])
        #expect(await client.receive() == .bytes([1, 2]))
        #expect(MonotonicTime.now() - start >= .milliseconds(120))
    }

    @Test("a server that is not there resets the client")
    func noServer() async throws {
        let (descriptor, port) = bindLoopback()
        close(descriptor)
        let proxy = try FaultProxy(upstreamPort: port)
        let client = Client(proxy.port)
        #expect(await client.receive() == .reset)
    }

    @Test("a peer that does not read is not read for without bound")
    func backpressure() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(upstreamPort: server.port)
        let client = Client(proxy.port)
        // Nobody reads the echo: after the buffers of proxy and kernel are full nothing moves.
        let much = [UInt8](repeating: 1, count: 64 << 20)
        let sent = await client.send(much, patience: .milliseconds(300))
        #expect(sent < much.count)
    }

    @Test("a connection over the limit is reset, the others are not hurt")
    func connectionsLimit() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(upstreamPort: server.port, connectionsLimit: 2)
        let clients = [Client(proxy.port), Client(proxy.port)]
        for client in clients {
            await client.send([1])
            #expect(await client.receive() == .bytes([1]))
        }
        #expect(await Client(proxy.port).receive() == .reset)
        await clients[0].send([2])
        #expect(await clients[0].receive() == .bytes([2]))
        #expect(proxy.connectionsOpen == 2)
    }

    @Test("stop closes the port and every connection")
    func stop() async throws {
        let server = EchoServer()
        let proxy = try FaultProxy(upstreamPort: server.port)
        let client = Client(proxy.port)
        await client.send([1])
        #expect(await client.receive() == .bytes([1]))
        proxy.stop()
        #expect(await client.receive() == .reset)
        #expect(try await eventually { proxy.hasEnded && server.open == 0 })
        #expect(proxy.connectionsOpen == 0)
        #expect(Client(proxy.port).isRefused)
    }
}

@LoopActor private func eventually(_ condition: () -> Bool) async throws -> Bool {
    for _ in 0..<5000 {
        if condition() { return true }
        try await EventLoop.shared.sleep(for: .milliseconds(2))
    }
    return false
}
