import EventLoop
import FoundationEssentials
import JSON
import Testing
import Tracing

@testable import HTTPServer

@Suite("RequestPipeline")
@LoopActor
struct RequestPipelineTests {
    private func server(_ handler: @escaping Route.Handler) -> HTTPServer {
        let route = Route(
            .post,
            "/v1/things/{id}",
            access: .open,
            summary: "",
            requestSchema: ["type": "object"],
            queryParameters: [
                QueryParameter("limit", "how many", schema: ["type": "integer"]),
                QueryParameter("must", "needed", isRequired: true),
            ],
            responses: [:],
            handler: handler
        )
        return HTTPServer(
            configuration: HTTPServerConfiguration(),
            router: Router(routes: [route])
        )
    }

    private let json: HTTPFields = ["Content-Type": "application/json"]

    private func problem(_ response: Response) throws -> JSON {
        #expect(response.contentType == "application/problem+json")
        return try JSON(parsing: response.bytes)
    }

    @Test("a handler sees the request")
    func request() async {
        let server = server { request in
            #expect(request.method == .post)
            #expect(request.target == "/v1/things/a%20b?must=1&limit=5&limit=6")
            #expect(request.path == "/v1/things/a%20b")
            #expect(request.parameters["id"] == "a b")
            #expect(request.query["limit"] == "5")
            #expect(request.query.values("limit") == ["5", "6"])
            let limit = try request.query.int("limit", in: 1...10)
            #expect(limit == 5)
            #expect(request.fields["content-type"] == "application/json")
            let body = try request.json()
            #expect(body == ["a": 1])
            #expect(request.peer == "127.0.0.1")
            #expect(request.context.route == "/v1/things/{id}")
            #expect(request.context.requestID == "r-1")
            #expect(
                request.context.traceparent.description.hasPrefix(
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-"
                )
            )
            #expect(request.context.principal == nil)
            return .json(201, ["ok": true])
        }
        var fields = json
        fields["X-Request-Id"] = "r-1"
        fields["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        let target = "/v1/things/a%20b?must=1&limit=5&limit=6"
        let response = await server.respond(
            .post,
            target,
            fields: fields,
            body: Array(#"{"a":1}"#.utf8)
        )
        #expect(response.status == 201)
        #expect(response.bytes == Array(#"{"ok":true}"#.utf8))
    }

    struct Secret: Error { let password = "hunter2" }

    @Test("an error nobody foresaw is a 500 that says nothing of it")
    func unhandled() async throws {
        let server = server { _ in throw Secret() }
        let response = await server.respond(.post, "/v1/things/1?must=1")
        let problem = try problem(response)
        #expect(response.status == 500)
        #expect(problem["code"] == "internal_error")
        #expect(problem["instance"] == "/v1/things/1?must=1")
        #expect(!problem.text.contains("hunter2"))
        #expect(!problem.text.contains("Secret"))
    }

    @Test("errors of the JSON reader are the client's")
    func jsonErrors() async throws {
        let server = server { request in
            let value = try request.json()
            let name = try JSONFields.read(value) { $0.string("name", length: 1...3) }
            return .text(name)
        }
        let target = "/v1/things/1?must=1"
        let cut = await server.respond(.post, target, fields: json, body: Array("{".utf8))
        #expect(cut.status == 400)
        #expect(try problem(cut)["code"] == "invalid_json")
        let body = Array(#"{"name":"long","other":1}"#.utf8)
        let wrong = await server.respond(.post, target, fields: json, body: body)
        #expect(wrong.status == 422)
        let pointers = try problem(wrong)["errors"]?.arrayValue?.map { $0["pointer"] }
        #expect(pointers == ["/name", "/other"])
        let fine = await server.respond(
            .post,
            target,
            fields: json,
            body: Array(#"{"name":"abc"}"#.utf8)
        )
        #expect(fine.bytes == Array("abc".utf8))
    }

    @Test("a parameter of the query that the route does not know is refused, and a missing one")
    func query() async throws {
        let server = server { _ in .empty() }
        let response = await server.respond(.post, "/v1/things/1?limit=1&surprise=2")
        #expect(response.status == 422)
        let pointers = try problem(response)["errors"]?.arrayValue?.map { $0["pointer"] }
        #expect(pointers == ["/query/surprise", "/query/must"])
        #expect(await server.respond(.post, "/v1/things/1?must=%FF").status == 400)
    }

    nonisolated static let integers: [(String, String)] = [
        ("1", "1"), ("10", "10"), ("0", "422"), ("11", "422"), ("", "422"), ("+1", "422"),
        ("1.0", "422"), ("1e1", "422"), ("-1", "422"), ("99999999999999999999", "422"),
        ("٣", "422"),
    ]

    @Test("an integer of the query is within its range", arguments: integers)
    func integer(text: String, outcome: String) throws {
        let query = QueryParameters([("limit", text)])
        do {
            #expect(try query.int("limit", in: 1...10).map(String.init) == outcome)
        } catch {
            #expect(String(error.status) == outcome)
            #expect(error.errors.first?.pointer == "/query/limit")
        }
    }

    nonisolated static let contentTypes: [(String?, Int)] = [
        ("application/json", 204), ("Application/JSON", 204),
        ("application/json; charset=utf-8", 204), ("application/json;charset=\"UTF-8\"", 204),
        ("application/json ; profile=x", 204), ("application/json; charset=latin1", 415),
        ("text/plain", 415), ("application/jsonx", 415), ("application/problem+json", 415),
        ("", 415), (nil, 415), (";", 415), ("application/x-www-form-urlencoded", 415),
    ]

    @Test("a body must be JSON where the route wants it", arguments: contentTypes)
    func contentType(value: String?, status: Int) async {
        let server = server { _ in .empty() }
        let fields: HTTPFields = value.map { ["Content-Type": $0] } ?? [:]
        let target = "/v1/things/1?must=1"
        let response = await server.respond(.post, target, fields: fields, body: Array("{}".utf8))
        #expect(response.status == status)
        // Without a body there is nothing to have a type.
        #expect(await server.respond(.post, target, fields: fields).status == 204)
    }

    @Test("an id in the path that is none is not found")
    func uuid() async {
        let server = server { request in
            .text(try request.id().uuidString.lowercased())
        }
        #expect(await server.respond(.post, "/v1/things/7?must=1").status == 404)
        let id = "0190b2f4-7d3c-7a55-8f7e-1a2b3c4d5e6f"
        let found = await server.respond(.post, "/v1/things/\(id)?must=1")
        #expect(found.bytes == Array(id.utf8))
    }

    @Test("a problem has the fields of the contract, and a Retry-After in whole seconds")
    func rendering() async throws {
        let server = server { _ in
            var problem = Problem.tooManyRequests("slowly", retryAfterMilliseconds: 1500)
            problem.errors = [Problem.Fault(pointer: "/a", detail: "b")]
            problem.members = ["room": "r1"]
            throw problem
        }
        let response = await server.respond(
            .post,
            "/v1/things/1?must=1",
            fields: ["X-Request-Id": "q"]
        )
        #expect(response.status == 429)
        #expect(response.fields["Retry-After"] == "2")
        #expect(
            try problem(response) == [
                "type": "urn:switchboard:problem:rate_limited", "title": "Too Many Requests",
                "status": 429, "detail": "slowly", "instance": "/v1/things/1?must=1",
                "code": "rate_limited", "request_id": "q",
                "errors": [["pointer": "/a", "detail": "b"]], "retry_after_ms": 1500,
                "retryable": true, "room": "r1",
            ]
        )
    }
}
