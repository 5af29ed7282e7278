/// What is checked of every request before its handler sees it, by what its route declares.
enum RequestChecks {
    static func check(_ request: Request, _ entry: RouteEntry) throws(Problem) {
        if entry.requiresBody { try checkLength(request) }
        try checkContentType(request, entry.route)
        if !request.query.items.isEmpty || entry.requiresQuery {
            try checkQuery(request, entry.route)
        }
    }

    private static func checkLength(_ request: Request) throws(Problem) {
        guard request.body.isEmpty, request.message.head.framing == .none,
            !request.fields.contains("Content-Length")
        else { return }
        throw Problem(status: 411, detail: "the request must say how long its body is")
    }

    private static func checkContentType(_ request: Request, _ route: Route) throws(Problem) {
        guard !request.body.isEmpty, route.checksContentType else { return }
        let value = request.fields.valueBytes(of: "Content-Type") ?? []
        if route.requestContentTypes.isEmpty {
            guard !isType(value, "application/json") else { return }
            throw unsupported(["application/json"])
        }
        for type in route.requestContentTypes where isType(value, type) { return }
        throw unsupported(route.requestContentTypes)
    }

    private static func unsupported(_ types: [String]) -> Problem {
        let names = types.joined(separator: " or ")
        var problem = Problem(status: 415, detail: "the body must be \(names) in UTF-8")
        problem.fields["Accept"] = types.joined(separator: ", ")
        return problem
    }

    /// Whether a field's value names `type`, and no other character set than UTF-8.
    static func isType(_ value: ArraySlice<UInt8>, _ type: String) -> Bool {
        let parts = value.split(separator: .semicolon, omittingEmptySubsequences: false)
        guard let name = parts.first, isWord(trimmed(name), type) else { return false }
        for part in parts.dropFirst() {
            let pair = trimmed(part).split(separator: .equals, maxSplits: 1)
            guard pair.count == 2, isWord(pair[0], "charset") else { continue }
            let quoted = pair[1].first == .quote && pair[1].last == .quote && pair[1].count > 1
            let charset = quoted ? pair[1].dropFirst().dropLast() : pair[1]
            guard isWord(charset, "utf-8") else { return false }
        }
        return true
    }

    private static func isWord(_ bytes: ArraySlice<UInt8>, _ word: String) -> Bool {
        bytes.count == word.utf8.count
            && zip(bytes, word.utf8).allSatisfy { $0.lowercased == $1.lowercased }
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var bytes = bytes.drop(while: \.isBlank)
        while bytes.last?.isBlank == true { bytes.removeLast() }
        return bytes
    }

    private static func checkQuery(_ request: Request, _ route: Route) throws(Problem) {
        var faults: [Problem.Fault] = []
        for (name, _) in request.query.items
        where !route.queryParameters.contains(where: { $0.name == name }) {
            faults.append(Problem.Fault(pointer: "/query/\(name)", detail: "is not known here"))
        }
        for parameter in route.queryParameters
        where parameter.isRequired && request.query[parameter.name] == nil {
            faults.append(Problem.Fault(pointer: "/query/\(parameter.name)", detail: "is required"))
        }
        guard faults.isEmpty else { throw .invalid(faults) }
    }
}

extension Route {
    var checksContentType: Bool { requestSchema != nil || !requestContentTypes.isEmpty }
}
