import EventLoop
import JSON
import Testing

@testable import HTTPServer

@Suite("HTTPConnection", .timeLimit(.minutes(1)))
@LoopActor
struct HTTPConnectionTests {
    private let get = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"

    private func code(_ response: WireResponse) throws -> String? {
        try JSON(parsing: response.body)["code"]?.stringValue
    }

    @Test("HEAD is answered like GET, without the body")
    func head() async throws {
        let server = try await TestServer([TestRoutes.ping])
        let client = try await server.client()
        try await client.send("HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\n\(get)")
        let head = try await client.response(toHead: true)
        #expect(head.status == 200)
        #expect(head["Content-Length"] == "4")
        #expect(try await client.response().text == "pong")
    }

    @Test("OPTIONS, other methods and unknown paths keep the connection")
    func otherRequests() async throws {
        let server = try await TestServer([TestRoutes.ping])
        let client = try await server.client()
        let body = "Content-Length: 3\r\n\r\nabc"
        try await client.send("OPTIONS /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        try await client.send("POST /ping HTTP/1.1\r\nHost: x\r\n\(body)")
        try await client.send("POST /none?a=b HTTP/1.1\r\nHost: x\r\n\(body)\(get)")
        let options = try await client.response()
        #expect(options.status == 204)
        #expect(options["Allow"] == "GET, HEAD, OPTIONS")
        #expect(options["Content-Length"] == nil)
        let method = try await client.response()
        #expect(method.status == 405)
        #expect(method["Allow"] == "GET, HEAD, OPTIONS")
        let missing = try await client.response()
        #expect(missing.status == 404)
        #expect(missing["Content-Type"] == "application/problem+json")
        let problem = try JSON(parsing: missing.body)
        #expect(problem["instance"] == "/none?a=b")
        #expect(problem["request_id"]?.stringValue == missing["X-Request-Id"])
        #expect(problem["code"] == "not_found")
        #expect(try await client.response().text == "pong")
    }

    @Test(
        "keep-alive follows the version and the Connection field",
        arguments: [
            ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false),
            ("HTTP/1.0", "", false), ("HTTP/1.0", "Connection: keep-alive\r\n", true),
        ]
    )
    func keepAlive(version: String, field: String, stays: Bool) async throws {
        let server = try await TestServer([TestRoutes.ping])
        let client = try await server.client()
        try await client.send("GET /ping \(version)\r\nHost: x\r\n\(field)\r\n")
        let response = try await client.response()
        #expect(response.status == 200)
        guard stays else {
            #expect(response["Connection"] == "close")
            #expect(try await client.remainder() == [])
            return
        }
        #expect(response["Connection"] == (version == "HTTP/1.0" ? "keep-alive" : nil))
        try await client.send(get)
        #expect(try await client.response().status == 200)
    }

    @Test("a client that closes its side still gets its answers")
    func halfClose() async throws {
        let latch = Latch()
        let server = try await TestServer([TestRoutes.latched(latch), TestRoutes.ping])
        let client = try await server.client()
        try await client.send("GET /latched HTTP/1.1\r\nHost: x\r\n\r\n\(get)\(get)")
        client.finishSending()
        try await eventually("the handler waits") { latch.arrivals == 1 }
        try await EventLoop.shared.sleep(for: .milliseconds(20))
        latch.open()
        #expect(try await client.responses(3).map(\.text) == ["done", "pong", "pong"])
        #expect(try await client.remainder() == [])
    }

    @Test("a request that is cut off is answered 400")
    func cutOff() async throws {
        let server = try await TestServer([TestRoutes.ping, TestRoutes.echo])
        for text in [
            "GET /ping HT", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        ] {
            let client = try await server.client()
            try await client.send(text)
            client.finishSending()
            let response = try await client.response()
            #expect(response.status == 400)
            #expect(try code(response) == "incomplete_request")
            #expect(try await client.remainder() == [])
        }
    }

    @Test("a client that resets the connection has its handler cancelled")
    func clientGone() async throws {
        var wasCancelled = false
        let slow = Route(.get, "/slow", access: .open, summary: "", responses: [:]) { _ in
            do {
                try await EventLoop.shared.sleep(for: .seconds(60))
            } catch {
                wasCancelled = true
            }
            return .empty()
        }
        let server = try await TestServer([slow])
        let client = try await server.client()
        try await client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        try await eventually("the handler runs") { server.server.readings.requestsInFlight == 1 }
        client.reset()
        try await eventually("the handler was cancelled") { wasCancelled }
        try await eventually("the connection is gone") { server.server.readings.connections == 0 }
        #expect(server.server.readings.answered == 0)
    }

    @Test("after a framing error comes one answer, readable, and then the end")
    func lingeringClose() async throws {
        let server = try await TestServer([TestRoutes.ping])
        let client = try await server.client()
        // Half a megabyte behind the error would turn a plain close into a reset.
        let garbage = String(repeating: "x", count: 512 * 1024)
        try await client.send("GET /ping HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n\(garbage)")
        let response = try await client.response()
        #expect(response.status == 400)
        #expect(response["Connection"] == "close")
        #expect(try await client.remainder() == [])
    }

    @Test("what a client sends behind its last request does not cost it the answer")
    func lingersAfterLastAnswer() async throws {
        let server = try await TestServer([TestRoutes.ping])
        let client = try await server.client()
        try await client.send("GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        try await eventually("it was answered") { server.server.readings.answered == 1 }
        try await client.send(get)
        try await client.send(get)
        #expect(try await client.response().status == 200)
        #expect(try await client.remainder() == [])
    }

    @Test("lingering ends after its bytes and after its time")
    func lingerLimits() async throws {
        let server = try await TestServer([TestRoutes.ping]) {
            $0.lingerBytesMax = 10_000
            $0.deadlines.linger = .milliseconds(50)
        }
        let loud = try await server.client()
        try await loud.send("BAD\r\n\r\n")
        #expect(try await loud.response().status == 400)
        // The server takes 10,000 bytes more; after that sending fails sooner or later.
        await #expect(throws: EventLoopError.self) {
            for _ in 0..<1000 { try await loud.send(String(repeating: "x", count: 1 << 16)) }
        }
        let quiet = try await server.client()
        try await quiet.send("BAD\r\n\r\n")
        #expect(try await quiet.response().status == 400)
        try await eventually("both are closed") { server.server.readings.connections == 0 }
    }

    @Test("what is behind a framing error is not answered")
    func nothingAfterError() async throws {
        let server = try await TestServer([TestRoutes.ping])
        let client = try await server.client()
        try await client.send("\(get)GET /ping HTTP/9.9\r\nHost: x\r\n\r\n\(get)")
        client.finishSending()
        #expect(try await client.responses(2).map(\.status) == [200, 505])
        #expect(try await client.remainder() == [])
    }

    @Test("100 Continue comes once the route takes the body, and only then")
    func expectContinue() async throws {
        let server = try await TestServer([TestRoutes.echo])
        let client = try await server.client()
        let expect = "Expect: 100-continue\r\n"
        try await client.send(
            "POST /echo HTTP/1.1\r\nHost: x\r\n\(expect)Content-Length: 5\r\n\r\n"
        )
        #expect(try await client.response().status == 100)
        try await client.send("hello")
        #expect(try await client.response().text == "hello")
        // The body is there already: nobody waits for a word.
        try await client.send(
            "POST /echo HTTP/1.1\r\nHost: x\r\n\(expect)Content-Length: 5\r\n\r\nagain"
        )
        let immediate = try await client.response()
        #expect(immediate.status == 200)
        #expect(immediate.text == "again")
        // Too long: refused by the declared length alone.
        try await client.send(
            "POST /echo HTTP/1.1\r\nHost: x\r\n\(expect)Content-Length: 65537\r\n\r\n"
        )
        let refused = try await client.response()
        #expect(refused.status == 413)
        #expect(try await client.remainder() == [])
    }

    @Test("no 100 Continue for a path that there is not")
    func expectContinueNowhere() async throws {
        let server = try await TestServer([TestRoutes.echo])
        let client = try await server.client()
        let expect = "Expect: 100-continue\r\n"
        try await client.send(
            "POST /none HTTP/1.1\r\nHost: x\r\n\(expect)Content-Length: 5\r\n\r\n"
        )
        #expect(try await client.response().status == 404)
        #expect(try await client.remainder() == [])
    }

    @Test("a body may have what the route says, counted and in chunks")
    func bodyLimit() async throws {
        let server = try await TestServer([TestRoutes.echo])
        let client = try await server.client()
        let body = String(repeating: "b", count: 65536)
        try await client.send(
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n\(body)"
        )
        #expect(try await client.response().body.count == 65536)
        try await client.send(
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "8000\r\n\(body.prefix(0x8000))\r\n8001\r\n"
        )
        #expect(try await client.response().status == 413)
        #expect(server.server.readings.bodyBytes == 0)
    }

    @Test("bodies of all connections together have a limit")
    func bodyBudget() async throws {
        let server = try await TestServer([TestRoutes.echo]) { $0.bodyBytesMax = 10_000 }
        let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
        let first = try await server.client()
        try await first.send(head + String(repeating: "a", count: 8000))
        try await eventually("the first has sent") { server.server.readings.bodyBytes == 8000 }
        let second = try await server.client()
        try await second.send(head + String(repeating: "b", count: 8000))
        let refused = try await second.response()
        #expect(refused.status == 503)
        #expect(try code(refused) == "overloaded")
        try await first.send(String(repeating: "a", count: 1000))
        #expect(try await first.response().body.count == 9000)
        #expect(server.server.readings.bodyBytes == 0)
    }

    @Test("a slow reader stops its own pipeline, not the memory")
    func backpressure() async throws {
        let size = 100_000
        let server = try await TestServer([TestRoutes.large(size)])
        let client = try await server.client(receiveBuffer: 4096)
        let count = 150
        let request = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
        try await client.send(String(repeating: request, count: count))
        try await EventLoop.shared.sleep(for: .milliseconds(100))
        // The kernel's buffers take a few megabytes; the rest of the 15 is not made.
        let before = server.server.readings.answered
        #expect(before < count / 2)
        try await EventLoop.shared.sleep(for: .milliseconds(50))
        #expect(server.server.readings.answered == before)
        let responses = try await client.responses(count)
        #expect(responses.allSatisfy { $0.body.count == size })
        #expect(server.server.readings.answered == count)
    }

    @Test("a client that sends ahead is read no further than the limit")
    func inputBackpressure() async throws {
        let latch = Latch()
        let server = try await TestServer([TestRoutes.latched(latch), TestRoutes.ping])
        let client = try await server.client()
        try await client.send("GET /latched HTTP/1.1\r\nHost: x\r\n\r\n")
        try await eventually("the handler waits") { latch.arrivals == 1 }
        let count = 8_000
        let flood = Task { try await client.send(String(repeating: get, count: count)) }
        let connection = try #require(server.server.connections.first)
        let limit = server.server.configuration.inputHighWater
        try await eventually("it has sent more than the limit") { connection.input.count >= limit }
        try await EventLoop.shared.sleep(for: .milliseconds(50))
        #expect(connection.input.count < limit + StreamSocket.receiveSize)
        latch.open()
        let reader = client.reader()
        #expect(try await reader.response().text == "done")
        #expect(try await reader.responses(count).count == count)
        try await flood.value
        #expect(connection.input.isEmpty && connection.output.isEmpty)
        #expect(server.server.readings.answered == count + 1)
    }

    @Test("one connection too many is told so at once, and others go on")
    func connectionCap() async throws {
        let server = try await TestServer([TestRoutes.ping]) {
            $0.connectionsMax = 2
            $0.connectionsPerPeerMax = 2
        }
        let first = try await server.client()
        let second = try await server.client()
        try await eventually("both are taken") { server.server.readings.connections == 2 }
        let third = try await server.client()
        let refused = try await third.response()
        #expect(refused.status == 503)
        #expect(try code(refused) == "too_many_connections")
        #expect(refused["Retry-After"] == "1")
        #expect(try await third.remainder() == [])
        for client in [first, second] {
            try await client.send("GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(try await client.response().status == 200)
        }
        try await eventually("all are gone") { server.server.readings.connections == 0 }
        let fourth = try await server.client()
        try await fourth.send(get)
        #expect(try await fourth.response().status == 200)
    }

    @Test("one peer may have its share of the connections, by default half")
    func perPeerCap() async throws {
        let server = try await TestServer([TestRoutes.ping]) { $0.connectionsMax = 4 }
        let first = try await server.client()
        let second = try await server.client()
        try await eventually("both are taken") { server.server.readings.connections == 2 }
        let third = try await server.client()
        #expect(try await third.response().status == 503)
        for client in [first, second] {
            try await client.send(get)
            #expect(try await client.response().status == 200)
        }
    }
}
