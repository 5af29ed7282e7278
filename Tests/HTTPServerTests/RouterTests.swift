import JSON
import Testing

@testable import HTTPServer

@Suite("Router")
struct RouterTests {
    private static func route(_ method: HTTPMethod, _ pattern: String) -> Route {
        Route(method, pattern, access: .open, summary: "\(method) \(pattern)", responses: [:]) {
            _ in
            .empty()
        }
    }

    static let router = Router(routes: [
        route(.get, "/"),
        route(.get, "/console/"),
        route(.get, "/v1/conversations"),
        route(.post, "/v1/conversations"),
        route(.get, "/v1/conversations/{id}"),
        route(.post, "/v1/conversations/{id}/messages"),
        route(.get, "/v1/messages/{id}"),
        route(.delete, "/v1/messages/{id}"),
        route(.post, "/v1/messages/auto-assign"),
        route(.post, "/v1/messages/{id}/auto-assign"),
        route(.put, "/v1/teams/{team}/members/{agent}"),
    ])

    struct Row: Sendable, CustomTestStringConvertible {
        let method: HTTPMethod
        let path: String
        let outcome: String
        init(_ method: HTTPMethod, _ path: String, _ outcome: String) {
            self.method = method
            self.path = path
            self.outcome = outcome
        }
        var testDescription: String { "\(method) \(path)" }
    }

    static let rows = [
        Row(.get, "/", "GET /"),
        Row(.head, "/", "GET /"),
        Row(.get, "/console/", "GET /console/"),
        Row(.get, "/console", "none"),
        Row(.get, "/v1/conversations", "GET /v1/conversations"),
        Row(.post, "/v1/conversations", "POST /v1/conversations"),
        Row(.get, "/v1/conversations/", "none"),
        Row(.get, "/v1//conversations", "none"),
        Row(.get, "//v1/conversations", "none"),
        Row(.get, "/V1/conversations", "none"),
        Row(.get, "/v1/conversation", "none"),
        Row(.get, "/v1/%63onversations", "GET /v1/conversations"),
        Row(.get, "/v1/conversations/7", "GET /v1/conversations/{id} id=7"),
        Row(.get, "/v1/conversations/a%20b", "GET /v1/conversations/{id} id=a b"),
        Row(.get, "/v1/conversations/a%2Fb", "GET /v1/conversations/{id} id=a/b"),
        Row(.get, "/v1/conversations/a+b", "GET /v1/conversations/{id} id=a+b"),
        Row(.get, "/v1/conversations/%C3%A9", "GET /v1/conversations/{id} id=é"),
        Row(.get, "/v1/conversations/%FF", "malformed"),
        Row(.get, "/v1/conversations/%00", "malformed"),
        Row(.get, "/v1/conversations/..", "GET /v1/conversations/{id} id=.."),
        Row(.post, "/v1/conversations/7/messages", "POST /v1/conversations/{id}/messages id=7"),
        Row(.post, "/v1/messages/auto-assign", "POST /v1/messages/auto-assign"),
        Row(.get, "/v1/messages/auto-assign", "GET /v1/messages/{id} id=auto-assign"),
        Row(
            .post,
            "/v1/messages/auto-assign/auto-assign",
            "POST /v1/messages/{id}/auto-assign id=auto-assign"
        ),
        Row(
            .put,
            "/v1/teams/a/members/b",
            "PUT /v1/teams/{team}/members/{agent} team=a agent=b"
        ),
        Row(.put, "/v1/teams/a/members/", "none"),
        Row(.patch, "/v1/messages/auto-assign", "405 DELETE, GET, HEAD, OPTIONS, POST"),
        Row(.delete, "/v1/conversations", "405 GET, HEAD, OPTIONS, POST"),
        Row(.post, "/v1/teams/a/members/b", "405 OPTIONS, PUT"),
        Row(.other("BREW"), "/", "405 GET, HEAD, OPTIONS"),
        Row(.trace, "/", "405 GET, HEAD, OPTIONS"),
        Row(.options, "/v1/teams/a/members/b", "options OPTIONS, PUT"),
        Row(.options, "/nowhere", "none"),
        Row(.options, "*", "options DELETE, GET, HEAD, OPTIONS, POST, PUT"),
        Row(.get, "*", "none"),
    ]

    @Test("a request line leads to its route, or to what is said instead", arguments: rows)
    func match(row: Row) {
        let match = RouterTests.router.match(row.method, Array(row.path.utf8)[...])
        #expect(RouterTests.describe(match) == row.outcome)
    }

    private static func describe(_ match: Router.Match) -> String {
        switch match {
        case .route(let entry, let parameters):
            let values = parameters.names.map { " \($0)=\(parameters[$0])" }
            return "\(entry.route.method) \(entry.route.pattern)" + values.joined()
        case .otherMethods(let allow): return "405 \(allow)"
        case .options(let allow): return "options \(allow)"
        case .none: return "none"
        case .malformed: return "malformed"
        }
    }

    @Test("two routes of one method and path are refused")
    func duplicates() async {
        await #expect(processExitsWith: .failure) {
            _ = Router(routes: [
                RouterTests.route(.get, "/a/{x}"), RouterTests.route(.get, "/a/{y}"),
            ])
        }
    }
}
