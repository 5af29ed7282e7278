import EventLoop
import JSON
import Testing

@testable import HTTPServer

@Suite("HTTPServer", .timeLimit(.minutes(1)))
@LoopActor
struct HTTPServerTests {
    @Test("a request is answered with the fields that every answer has")
    func basic() async throws {
        let server = try await TestServer([TestRoutes.ping])
        let client = try await server.client()
        try await client.send("GET /ping HTTP/1.1\r\nHost: x\r\nX-Request-Id: abc-1\r\n\r\n")
        let response = try await client.response()
        #expect(response.status == 200)
        #expect(response.text == "pong")
        #expect(response["X-Request-Id"] == "abc-1")
        #expect(response["Content-Length"] == "4")
        #expect(response["Content-Type"] == "text/plain; charset=utf-8")
        #expect(response["X-Content-Type-Options"] == "nosniff")
        #expect(response["Cache-Control"] == "no-store")
        #expect(response["Date"]?.hasSuffix(" GMT") == true)
        #expect(response["Connection"] == nil)
    }

    @Test("2,000 pipelined requests, waiting and not, are answered in order")
    func pipelining() async throws {
        let server = try await TestServer([TestRoutes.wait, TestRoutes.name, TestRoutes.atOnce])
        let client = try await server.client()
        let names = (0..<2000).map { ["wait", "name", "at-once"][$0 % 3] + "/\($0)" }
        let text = names.map { "GET /\($0) HTTP/1.1\r\nHost: x\r\n\r\n" }.joined()
        try await client.send(text)
        let responses = try await client.responses(2000)
        #expect(responses.allSatisfy { $0.status == 200 })
        #expect(responses.map(\.text) == (0..<2000).map(String.init))
    }

    @Test("an error of a route without a task is a problem like any other")
    func immediateError() async throws {
        let server = try await TestServer([TestRoutes.atOnce])
        let client = try await server.client()
        try await client.send("GET /at-once/error HTTP/1.1\r\nHost: x\r\n\r\n")
        try await client.send("GET /at-once/a?b=c HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try await client.responses(2).map(\.status) == [404, 422])
    }

    @Test("the same in twenty pieces and in single bytes")
    func splitWrites() async throws {
        let server = try await TestServer([TestRoutes.wait, TestRoutes.name, TestRoutes.echo])
        let client = try await server.client()
        let requests = (0..<60).map { index in
            switch index % 3 {
            case 0: "GET /wait/\(index) HTTP/1.1\r\nHost: x\r\n\r\n"
            case 1: "GET /name/\(index) HTTP/1.1\r\nHost: x\r\n\r\n"
            default: "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n\(index % 90 + 10)"
            }
        }
        let bytes = Array(requests.joined().utf8)
        let size = bytes.count / 20
        for start in stride(from: 0, to: bytes.count, by: size) {
            try await client.send(Array(bytes[start..<min(start + size, bytes.count)]))
        }
        let expected = (0..<60).map { $0 % 3 == 2 ? String($0 % 90 + 10) : String($0) }
        #expect(try await client.responses(60).map(\.text) == expected)
        for byte in requests[..<6].joined().utf8 { try await client.send([byte]) }
        #expect(try await client.responses(6).map(\.text) == Array(expected[..<6]))
    }
}
