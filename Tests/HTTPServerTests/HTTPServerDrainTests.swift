import EventLoop
import Testing

@testable import HTTPServer

@Suite("HTTPServer: drain", .timeLimit(.minutes(1)))
@LoopActor
struct HTTPServerDrainTests {
    private let get = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"

    @Test("a drain ends what is idle at once, and what is in flight after its answer")
    func drain() async throws {
        let latch = Latch()
        let server = try await TestServer([TestRoutes.latched(latch), TestRoutes.ping])
        let idle = try await server.client()
        try await idle.send(get)
        #expect(try await idle.response().status == 200)
        let busy = try await server.client()
        try await busy.send("GET /latched HTTP/1.1\r\nHost: x\r\n\r\n")
        try await eventually("the handler waits") { latch.arrivals == 1 }
        let drained = Task { await server.server.drain(within: .seconds(10)) }
        #expect(try await idle.remainder() == [])
        await #expect(throws: EventLoopError.self) { try await server.client() }
        latch.open()
        let response = try await busy.response()
        #expect(response.text == "done")
        #expect(response["Connection"] == "close")
        #expect(try await busy.remainder() == [])
        #expect(await drained.value)
    }

    @Test("connections that wait in the kernel when the drain begins are served")
    func backlog() async throws {
        let server = try await TestServer([TestRoutes.ping])
        let clients = [try await server.client(), try await server.client()]
        for client in clients { try await client.send(get) }
        // No tick lies between these connections and the drain, unless they were taken already.
        let drained = Task { await server.server.drain(within: .seconds(10)) }
        for client in clients {
            let response = try await client.response()
            #expect(response.text == "pong")
        }
        #expect(await drained.value)
    }

    @Test("what has not ended in time is cut")
    func cut() async throws {
        let latch = Latch()
        let server = try await TestServer([TestRoutes.latched(latch)])
        let client = try await server.client()
        try await client.send("GET /latched HTTP/1.1\r\nHost: x\r\n\r\n")
        try await eventually("the handler waits") { latch.arrivals == 1 }
        #expect(await server.server.drain(within: .milliseconds(50)) == false)
        #expect(try await client.remainder() == nil)
        #expect(server.server.readings.connections == 0)
        latch.open()
    }

    @Test("a drain without connections is over at once")
    func nothingToDo() async throws {
        let server = try await TestServer([TestRoutes.ping])
        #expect(await server.server.drain(within: .seconds(10)))
        #expect(await server.server.drain(within: .seconds(10)))
    }
}
