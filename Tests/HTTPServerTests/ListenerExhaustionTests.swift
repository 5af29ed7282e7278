import EventLoop
import Glibc
import JSON
import Testing

@testable import HTTPServer

@Suite("HTTPServer: no descriptors left")
struct ListenerExhaustionTests {
    @Test("connections are told off while descriptors lack, and served again afterwards")
    func survivesEMFILE() async {
        // In a process of its own: the others need their descriptors.
        await #expect(processExitsWith: .success) {
            try await ListenerExhaustionTests.exhaust()
        }
    }

    @LoopActor
    private static func exhaust() async throws {
        var limit = rlimit(rlim_cur: 128, rlim_max: 128)
        precondition(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
        let server = try await TestServer([TestRoutes.ping]) { $0.descriptorReserve = 0 }
        let address = server.port
        let clients = (0..<8).map { _ in socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
        var fillers: [Int32] = []
        while true {
            let filler = dup(0)
            if filler < 0 { break }
            fillers.append(filler)
        }
        precondition(errno == EMFILE)
        for client in clients { precondition(open(client, port: address)) }
        try await eventually("all were told off") { server.server.readings.refused == 8 }
        for client in clients { precondition(read(client).hasPrefix("HTTP/1.1 503 ")) }
        for filler in fillers { close(filler) }
        let late = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        precondition(open(late, port: address))
        _ = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n".withCString { write(late, $0, strlen($0)) }
        try await eventually("the late one is served") { server.server.readings.answered == 1 }
        precondition(read(late).hasPrefix("HTTP/1.1 200 "))
    }

    /// A connect to the loopback ends in the kernel; it does not wait for the server.
    private static func open(_ descriptor: Int32, port: Int) -> Bool {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        } == 0
    }

    private static func read(_ descriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}
