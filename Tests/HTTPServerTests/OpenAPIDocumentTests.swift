import Crypto
import EventLoop
import Foundation
import JSON
import Testing

@testable import HTTPServer

@Suite("OpenAPIDocument and the reference page")
@LoopActor
struct OpenAPIDocumentTests {
    private static let thing: JSON = [
        "type": "object",
        "required": ["id"],
        "properties": [
            "id": ["type": "string", "format": "uuid", "description": "Which <thing>"],
            "parts": [
                "type": "array",
                "items": ["type": "object", "properties": ["name": ["type": "string"]]],
            ],
        ],
    ]

    private static let router = Router(
        routes: [
            Route(
                .post,
                "/v1/things/{id}/parts",
                access: .role(.agent),
                summary: "Add a part",
                description: "Adds & keeps.",
                tag: "Things",
                idempotency: .replayed,
                requestSchema: ["$ref": "#/components/schemas/Thing", "required": ["id"]],
                queryParameters: [QueryParameter("mode", "How", isRequired: true)],
                responses: [
                    201: RouteResponse("Added.", schema: ["$ref": "#/components/schemas/Thing"]),
                    409: RouteResponse("Was there."),
                ]
            ) { _ in .empty() },
            Route(
                .get,
                "/v1/things/{id}/parts",
                access: .service,
                summary: "List",
                tag: "Things",
                responses: [200: RouteResponse("Events.", contentType: "text/event-stream")]
            ) { _ in .empty() },
        ],
        title: "Things & more",
        version: "2.0.0",
        schemas: ["Thing": thing],
        meanings: ["{id}": "The thing.", "name": "Its name.", "id": "Not said where it says it."],
        documentation: .open
    )

    private let server = HTTPServer(configuration: HTTPServerConfiguration(), router: router)

    @Test("the served document is the router's, and describes every route")
    func served() async throws {
        let response = await server.respond(.get, "/openapi.json")
        #expect(response.contentType == "application/json")
        let document = try JSON(parsing: response.bytes)
        #expect(document == OpenAPIDocumentTests.router.openAPI)
        #expect(document["openapi"] == "3.1.0")
        #expect(document["info"] == ["title": "Things & more", "version": "2.0.0"])
        for route in OpenAPIDocumentTests.router.routes {
            let operation = document["paths"]?[route.pattern]?[route.method.name.lowercased()]
            #expect(operation?["summary"]?.stringValue == route.summary)
        }
        #expect(document["paths"]?.objectValue?.count == 3)
        let schemas = document["components"]?["schemas"]?.objectValue?.members.map(\.key)
        #expect(schemas == ["Thing", "Problem"])
    }

    @Test("a field that does not say what it means has the meaning of its name")
    func meanings() {
        let document = OpenAPIDocumentTests.router.openAPI
        let fields = document["components"]?["schemas"]?["Thing"]?["properties"]
        #expect(fields?["id"]?["description"] == "Which <thing>")
        let nested = fields?["parts"]?["items"]?["properties"]?["name"]
        #expect(nested?["description"] == "Its name." && nested?["type"] == "string")
        #expect(fields?["parts"]?["description"] == nil)
        let parameters = document["paths"]?["/v1/things/{id}/parts"]?["post"]?["parameters"]
        #expect(parameters?.arrayValue?.first?["description"] == "The thing.")
    }

    @Test("an operation lists its parameters, body, answers and key")
    func operation() throws {
        let paths = OpenAPIDocumentTests.router.openAPI["paths"]
        let operation = try #require(paths?["/v1/things/{id}/parts"]?["post"])
        #expect(operation["operationId"] == "post_v1_things_id_parts")
        let parameters = try #require(operation["parameters"]?.arrayValue)
        #expect(parameters.map { $0["name"] } == ["id", "mode", "Idempotency-Key"])
        #expect(parameters.map { $0["in"] } == ["path", "query", "header"])
        #expect(parameters.map { $0["required"] } == [true, true, false])
        let reference: JSON = ["$ref": "#/components/schemas/Thing", "required": ["id"]]
        #expect(operation["requestBody"]?["content"]?["application/json"]?["schema"] == reference)
        #expect(operation["security"] == [["key": []]])
        #expect(operation["x-required-role"] == "agent")
        let responses = try #require(operation["responses"]?.objectValue)
        let statuses = Set(responses.members.map(\.key))
        let expected = ["201", "400", "401", "403", "404", "409", "411", "413", "415", "422"]
        #expect(statuses == Set(expected + ["500", "503", "default"]))
        let conflict = responses["409"]
        #expect(conflict?["description"] == "Was there.")
        #expect(conflict?["content"]?["application/problem+json"] != nil)
    }

    @Test("other media types and open routes are described as they are")
    func others() {
        let paths = OpenAPIDocumentTests.router.openAPI["paths"]
        let events = paths?["/v1/things/{id}/parts"]?["get"]
        #expect(events?["responses"]?["200"]?["content"]?["text/event-stream"] != nil)
        #expect(events?["security"] == [["service": []]])
        #expect(paths?["/docs"]?["get"]?["security"] == [])
    }

    @Test("every reference in the document leads somewhere")
    func references() {
        let document = OpenAPIDocumentTests.router.openAPI
        for reference in OpenAPIDocumentTests.references(document) {
            let target = reference.split(separator: "/").dropFirst()
                .reduce(Optional(document)) { $0?[String($1)] }
            #expect(target != nil, "\(reference)")
        }
    }

    private static func references(_ value: JSON) -> [String] {
        if let elements = value.arrayValue { return elements.flatMap { references($0) } }
        return (value.objectValue?.members ?? []).flatMap { name, value in
            name == "$ref" ? [value.stringValue ?? ""] : references(value)
        }
    }

    @Test("the page names every route, loads nothing, and its policy allows just its style")
    func page() async throws {
        let response = await server.respond(.get, "/docs")
        #expect(response.contentType == "text/html; charset=utf-8")
        let html = String(decoding: response.bytes, as: UTF8.self)
        for route in OpenAPIDocumentTests.router.routes { #expect(html.contains(route.pattern)) }
        for needle in ["<script", "src=", "<link", "url(", "http://", "https://", "@import"] {
            #expect(!html.contains(needle), "\(needle)")
        }
        #expect(html.contains("Things &amp; more"))
        #expect(html.contains("Which &lt;thing&gt;"))
        #expect(html.contains("parts[].name"))
        #expect(html.contains("Role: agent."))
        let style = try #require(
            html.split(separator: "<style>").last?.split(separator: "</style>").first
        )
        let hash = Data(SHA256.hash(data: Data(style.utf8))).base64EncodedString()
        let policy = try #require(response.fields["Content-Security-Policy"])
        #expect(policy.contains("default-src 'none'"))
        #expect(policy.contains("style-src 'sha256-\(hash)'"))
        #expect(!policy.contains("unsafe"))
    }
}
