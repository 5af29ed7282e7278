/// Finds the routes of a path, one segment after the other.
///
/// Nodes lie in one array and name each other by index. A literal segment wins over a parameter;
/// when it leads nowhere the parameter is tried as well, so that `/v1/messages/{id}` still takes what
/// `/v1/messages/auto-assign` has no method for.
struct RouteTrie: Sendable {
    /// One part of a pattern.
    enum Segment: Sendable, Hashable {
        case literal([UInt8])
        case parameter(String)
    }

    struct Literal: Sendable {
        let bytes: [UInt8]
        let node: Int
    }

    struct Node: Sendable {
        var literals: [Literal] = []
        var parameter: Int?
        /// Methods that end here, each with the index of its route.
        var routes: [(method: HTTPMethod, index: Int)] = []
    }

    private var nodes = [Node()]

    /// What a path led to.
    struct Match: Sendable {
        /// Where the path begins.
        fileprivate let start: Int
        /// The route of the method; nil when the path has only others.
        var route: Int?
        /// The methods that the path has, in the order found; empty when there is no such path.
        var methods: [HTTPMethod] = []
        /// The segments that parameters took, percent-encoded.
        var captures: [Range<Int>] = []

        fileprivate init(start: Int) { self.start = start }
    }

    /// Adds a route.
    ///
    /// A pattern that is malformed or there already is a fault of the program.
    mutating func insert(_ pattern: String, _ method: HTTPMethod, index: Int) {
        var node = 0
        for segment in RouteTrie.segments(of: pattern) { node = child(of: node, for: segment) }
        precondition(
            !nodes[node].routes.contains { $0.method == method },
            "two routes for \(method) \(pattern)"
        )
        nodes[node].routes.append((method, index))
    }

    /// The parts of a pattern.
    static func segments(of pattern: String) -> [Segment] {
        precondition(pattern.first == "/", "the pattern \(pattern) does not begin with /")
        return pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map {
            guard $0.first == "{" else { return .literal(Array($0.utf8)) }
            precondition($0.last == "}" && $0.count > 2, "malformed parameter in \(pattern)")
            return .parameter(String($0.dropFirst().dropLast()))
        }
    }

    private mutating func child(of node: Int, for segment: Segment) -> Int {
        switch segment {
        case .literal(let bytes):
            if let found = nodes[node].literals.first(where: { $0.bytes == bytes }) {
                return found.node
            }
            nodes.append(Node())
            nodes[node].literals.append(Literal(bytes: bytes, node: nodes.count - 1))
        case .parameter:
            if let found = nodes[node].parameter { return found }
            nodes.append(Node())
            nodes[node].parameter = nodes.count - 1
        }
        return nodes.count - 1
    }

    /// Looks a path up; literal segments are compared after percent-decoding.
    func match(_ path: ArraySlice<UInt8>, _ method: HTTPMethod) -> Match {
        var match = Match(start: path.startIndex)
        guard path.first == .slash else { return match }
        _ = descend(0, path.span, from: 1, method, &match)
        return match
    }

    /// Whether the method's route was found below `node`, for the segments of the path from a place on.
    private func descend(
        _ node: Int,
        _ path: Span<UInt8>,
        from place: Int,
        _ method: HTTPMethod,
        _ match: inout Match
    ) -> Bool {
        var end = place
        var isEncoded = false
        while end < path.count, path[end] != .slash {
            if path[end] == .percent { isEncoded = true }
            end += 1
        }
        let segment = place..<end
        if let literal = literal(of: node, path, segment, isEncoded: isEncoded),
            step(literal, path, to: end, method, &match)
        {
            return true
        }
        // An empty segment names nothing.
        guard let parameter = nodes[node].parameter, !segment.isEmpty else { return false }
        match.captures.append(match.start + place..<match.start + end)
        if step(parameter, path, to: end, method, &match) { return true }
        match.captures.removeLast()
        return false
    }

    private func step(
        _ node: Int,
        _ path: Span<UInt8>,
        to end: Int,
        _ method: HTTPMethod,
        _ match: inout Match
    ) -> Bool {
        if end < path.count { return descend(node, path, from: end + 1, method, &match) }
        for route in nodes[node].routes where route.method == method {
            match.route = route.index
            return true
        }
        for route in nodes[node].routes where !match.methods.contains(route.method) {
            match.methods.append(route.method)
        }
        return false
    }

    private func literal(
        of node: Int,
        _ path: Span<UInt8>,
        _ segment: Range<Int>,
        isEncoded: Bool
    ) -> Int? {
        if isEncoded {
            let encoded = segment.map { path[$0] }
            let decoded = PercentCoding.decodedBytes(encoded[...], plusIsSpace: false)
            return nodes[node].literals.first { $0.bytes == decoded }?.node
        }
        for literal in nodes[node].literals where literal.bytes.count == segment.count {
            let bytes = literal.bytes.span
            if bytes.indices.allSatisfy({ bytes[$0] == path[segment.lowerBound + $0] }) {
                return literal.node
            }
        }
        return nil
    }
}
