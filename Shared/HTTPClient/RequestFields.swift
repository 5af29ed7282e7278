/// Header fields as curl wants them, after checking that none can become more than one field.
enum RequestFields {
    /// Bytes of all field lines of one request.
    static let bytesLimit = 32 * 1024

    /// Fields that decide framing, connection or destination: they are the client's own business.
    private static let reserved: Set<String> = [
        "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    ]

    /// The lines for one request.
    ///
    /// Curl adds fields by itself; a line that is a name and a colon only takes one away.
    static func lines(
        of request: OutgoingRequest,
        userAgent: String
    ) throws(HTTPClientError)
        -> [String]
    {
        var lines: [String] = []
        var names: Set<String> = []
        var bytes = 0
        for (name, value) in request.fields {
            let line = try checked(name, value)
            bytes += line.utf8.count
            guard bytes <= bytesLimit else {
                throw HTTPClientError(.badHeader, "the fields are over \(bytesLimit) bytes")
            }
            lines.append(line)
            names.insert(name.lowercased())
        }
        if !names.contains("user-agent") { lines.append("User-Agent: \(userAgent)") }
        // Waiting for 100-continue makes curl send a request a second time after 417.
        lines.append("Expect:")
        if request.body != nil || request.method.takesBody, !names.contains("content-type") {
            lines.append("Content-Type:")
        }
        return lines
    }

    private static func checked(_ name: String, _ value: String) throws(HTTPClientError) -> String {
        guard !name.isEmpty, name.utf8.allSatisfy(isTokenByte) else {
            throw HTTPClientError(.badHeader, "a field's name is not a token")
        }
        guard !reserved.contains(name.lowercased()) else {
            throw HTTPClientError(.badHeader, "the field \(name) is set by the client")
        }
        guard value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
            throw HTTPClientError(.badHeader, "the field \(name) holds control characters")
        }
        // With nothing behind the colon curl would take its own field of that name away.
        let isEmpty = value.utf8.allSatisfy { $0 == 0x20 || $0 == 0x09 }
        return isEmpty ? "\(name);" : "\(name): \(value)"
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}

extension OutgoingRequest.Method {
    /// Whether a request of this method says how long its body is even when it has none.
    var takesBody: Bool {
        switch self {
        case .post, .put, .patch: true
        case .get, .head, .delete: false
        }
    }
}
