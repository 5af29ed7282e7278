import EventLoop
import JSON
import Testing

@testable import HTTPServer

/// Keys are `tenant:role`, and `service` is the services' token.
struct TestAuthenticator: Authenticator {
    func authenticate(_ request: Request) async throws -> Principal {
        guard let field = request.fields["Authorization"], field.hasPrefix("Bearer ") else {
            throw Problem.unauthorized()
        }
        let key = field.dropFirst(7)
        if key == "service" {
            let tenant = request.fields["Switchboard-Tenant"] ?? ""
            return Principal(tenant: tenant, role: nil, keyID: "service", isService: true)
        }
        let parts = key.split(separator: ":").map(String.init)
        guard parts.count == 2, let role = Role(parts[1]) else { throw Problem.unauthorized() }
        return Principal(tenant: parts[0], role: role, keyID: parts[1])
    }
}

/// Lets in whoever has signed with an exclamation mark.
struct TestSignature: Authenticator {
    func authenticate(_ request: Request) async throws -> Principal {
        guard request.body.last == UInt8(ascii: "!") else { throw Problem.unauthorized() }
        return Principal(tenant: "signed", role: nil, keyID: "signature")
    }
}

@Suite("Access to routes")
@LoopActor
struct AccessTests {
    private static func route(_ pattern: String, _ access: RouteAccess) -> Route {
        Route(.post, pattern, access: access, summary: "", responses: [:]) { request in
            .text(request.context.principal?.tenant ?? "nobody")
        }
    }

    private let server = HTTPServer(
        configuration: HTTPServerConfiguration(),
        router: Router(routes: [
            route("/open", .open), route("/viewer", .role(.viewer)), route("/admin", .role(.admin)),
            route("/both", .roleOrService(.operator)), route("/service", .service),
            route("/signed", .custom(TestSignature())),
        ]),
        authenticator: TestAuthenticator()
    )

    nonisolated static let rows: [(path: String, key: String?, outcome: String)] = [
        ("/open", nil, "200 nobody"), ("/open", "t:admin", "200 nobody"),
        ("/viewer", nil, "401"), ("/viewer", "nonsense", "401"), ("/viewer", "t:viewer", "200 t"),
        ("/viewer", "t:admin", "200 t"), ("/viewer", "service", "403"),
        ("/admin", nil, "401"), ("/admin", "t:viewer", "403"), ("/admin", "t:operator", "403"),
        ("/admin", "t:admin", "200 t"), ("/admin", "service", "403"),
        ("/both", nil, "401"), ("/both", "t:agent", "403"), ("/both", "t:operator", "200 t"),
        ("/both", "service", "200 other"),
        ("/service", nil, "401"), ("/service", "t:admin", "403"),
        ("/service", "service", "200 other"),
        ("/signed", nil, "401"), ("/signed", "t:admin", "401"),
    ]

    @Test("a route takes who it names", arguments: rows)
    func access(path: String, key: String?, outcome: String) async throws {
        var fields: HTTPFields = ["Switchboard-Tenant": "other"]
        if let key { fields["Authorization"] = "Bearer \(key)" }
        let response = await server.respond(.post, path, fields: fields)
        let isFine = response.status == 200
        let text = isFine ? " " + String(decoding: response.bytes, as: UTF8.self) : ""
        #expect("\(response.status)\(text)" == outcome)
        #expect(response.fields["WWW-Authenticate"] == (response.status == 401 ? "Bearer" : nil))
    }

    @Test("a route of its own authenticator sees the body")
    func signature() async {
        let response = await server.respond(.post, "/signed", body: Array("signed!".utf8))
        #expect(response.bytes == Array("signed".utf8))
    }

    @Test("without an authenticator nobody gets in")
    func noAuthenticator() async {
        let closed = HTTPServer(
            configuration: HTTPServerConfiguration(),
            router: Router(routes: [AccessTests.route("/viewer", .role(.viewer))])
        )
        let fields: HTTPFields = ["Authorization": "Bearer t:admin"]
        #expect(await closed.respond(.post, "/viewer", fields: fields).status == 401)
    }

    @Test("who may not is told nothing about the request")
    func order() async {
        // The media type is wrong as well, and the length is missing.
        let route = Route(
            .post,
            "/strict",
            access: .role(.admin),
            summary: "",
            requestSchema: ["type": "object", "required": ["a"]],
            responses: [:]
        ) { _ in .empty() }
        let server = HTTPServer(
            configuration: HTTPServerConfiguration(),
            router: Router(routes: [route]),
            authenticator: TestAuthenticator()
        )
        #expect(await server.respond(.post, "/strict").status == 401)
        let viewer: HTTPFields = ["Authorization": "Bearer t:viewer"]
        #expect(await server.respond(.post, "/strict", fields: viewer, body: [1]).status == 403)
        let admin: HTTPFields = ["Authorization": "Bearer t:admin"]
        #expect(await server.respond(.post, "/strict", fields: admin).status == 411)
        #expect(await server.respond(.post, "/strict", fields: admin, body: [1]).status == 415)
    }
}
