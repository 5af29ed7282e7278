public import JSON

/// The routes of a service, from one table that also makes the published document.
public final class Router: Sendable {
    /// The table.
    public var routes: [Route] { entries.map(\.route) }
    /// The OpenAPI 3.1 document of the table.
    public let openAPI: JSON
    private let trie: RouteTrie
    private let entries: [RouteEntry]
    private let methods: [HTTPMethod]

    /// What a request line leads to.
    enum Match: Sendable {
        case route(RouteEntry, PathParameters)
        /// The path exists, the method does not.
        case otherMethods(allow: String)
        /// OPTIONS of a path that has no route for it.
        case options(allow: String)
        /// There is no such path.
        case none
        /// A parameter of the path is not UTF-8 once decoded.
        case malformed
    }

    /// A router.
    ///
    /// - Parameters:
    ///   - routes: the table; two routes of one method and path are a fault of the program.
    ///   - title: the service's name in the document.
    ///   - version: the service's version in the document.
    ///   - schemas: what routes refer to as `#/components/schemas/<name>`.
    ///   - meanings: what fields mean, by their names, where their own place does not say it; those of
    ///     parameters of a path are in braces: `{id}`.
    ///   - documentation: who may read `/openapi.json` and `/docs`, which are added to the table; nil
    ///     leaves them out.
    public init(
        routes: [Route],
        title: String = "Switchboard",
        version: String = "1.0.0",
        schemas: JSONObject = JSONObject(),
        meanings: [String: String] = [:],
        documentation: RouteAccess? = nil
    ) {
        var table = routes
        if let documentation {
            table += DocumentationRoutes.routes(
                for: routes,
                schemas: schemas,
                meanings: meanings,
                title,
                version,
                documentation
            )
        }
        let document = OpenAPIDocument(
            title: title,
            version: version,
            routes: table,
            schemas: schemas,
            glossary: Glossary(meanings: meanings)
        )
        openAPI = document.json
        entries = table.enumerated().map { RouteEntry($1, index: $0) }
        methods = Array(Set(table.map(\.method)))
        var trie = RouteTrie()
        for (index, route) in table.enumerated() {
            trie.insert(route.pattern, route.method, index: index)
        }
        self.trie = trie
    }

    /// Looks a request line up; HEAD is answered by GET's route.
    func match(_ method: HTTPMethod, _ path: ArraySlice<UInt8>) -> Match {
        let wanted = method == .head ? .get : method
        let match = trie.match(path, wanted)
        guard let route = match.route else { return withoutRoute(method, path, match.methods) }
        let entry = entries[route]
        guard !entry.parameterNames.isEmpty else {
            return .route(entry, PathParameters(names: [], values: []))
        }
        var values: [ArraySlice<UInt8>] = []
        values.reserveCapacity(entry.parameterNames.count)
        for range in match.captures {
            guard let value = PercentCoding.decode(path[range]) else { return .malformed }
            values.append(value)
        }
        return .route(entry, PathParameters(names: entry.parameterNames, values: values))
    }

    private func withoutRoute(
        _ method: HTTPMethod,
        _ path: ArraySlice<UInt8>,
        _ found: [HTTPMethod]
    ) -> Match {
        // `OPTIONS *` asks about the server as a whole.
        let isServer = method == .options && path.elementsEqual("*".utf8)
        let methods = isServer ? methods : found
        guard !methods.isEmpty else { return .none }
        var names = Set(methods.map(\.name) + ["OPTIONS"])
        if names.contains("GET") { names.insert("HEAD") }
        let allow = names.sorted().joined(separator: ", ")
        return method == .options ? .options(allow: allow) : .otherMethods(allow: allow)
    }
}

/// A route as requests in progress refer to it: by one reference.
final class RouteEntry: Sendable {
    let route: Route
    /// Its place in ``Router/routes``.
    let index: Int
    let parameterNames: [String]
    /// Whether anybody may call it.
    let isOpen: Bool
    /// Who finds out who asks, where that is not the server's own.
    let authenticator: (any Authenticator)?
    /// Whether a request must say how long its body is.
    let requiresBody: Bool
    /// Whether there is a parameter of the query that must be there.
    let requiresQuery: Bool

    init(_ route: Route, index: Int) {
        self.route = route
        if case .open = route.access { isOpen = true } else { isOpen = false }
        if case .custom(let own) = route.access { authenticator = own } else { authenticator = nil }
        self.index = index
        parameterNames = route.parameterNames
        requiresBody = route.requiresBody
        requiresQuery = route.queryParameters.contains(where: \.isRequired)
    }
}
