/// How the end of a response's body is found.
package enum ResponseFraming: Sendable, Hashable {
    /// The body has this many bytes; for HEAD it is the length that GET would have sent.
    case length(Int)
    /// The body comes in chunks: HTTP/1.1 only.
    case chunked
    /// The body ends with the connection: for streams to HTTP/1.0.
    case untilClose
}

/// Writes the heads of responses (RFC 9112 section 4), always at the end of an array.
package struct ResponseSerializer: Sendable {
    private var dateSecond = Int64.min
    private var dateLine: [UInt8] = []

    /// A serializer whose cache is empty; one per loop is enough.
    package init() {}

    /// Appends the status line, Date, Connection, the framing and `fields`.
    ///
    /// `now` is the wall clock in seconds since 1970. Fields that the serializer writes itself
    /// are left out of `fields`: a second Content-Length would split the response.
    package mutating func appendHead(
        status: Int,
        fields: HTTPFields,
        framing: ResponseFraming,
        version: HTTPVersion,
        keepsAlive: Bool,
        now: Int64,
        to output: inout [UInt8]
    ) {
        beginHead(
            status: status,
            framing: framing,
            version: version,
            keepsAlive: keepsAlive,
            now: now,
            to: &output
        )
        fields.appendLines(to: &output)
        output.append(.carriageReturn)
        output.append(.lineFeed)
    }

    /// Appends what ``appendHead(status:fields:framing:version:keepsAlive:now:to:)`` writes before
    /// the fields; field lines and the empty line are the caller's affair.
    mutating func beginHead(
        status: Int,
        framing: ResponseFraming,
        version: HTTPVersion,
        keepsAlive: Bool,
        now: Int64,
        to output: inout [UInt8]
    ) {
        precondition((200...999).contains(status), "not the status of a final response")
        StatusLine.append(status, to: &output)
        if now != dateSecond {
            dateSecond = now
            dateLine = Array("Date: \(HTTPDate.string(secondsSince1970: now))\r\n".utf8)
        }
        output.append(contentsOf: dateLine)
        if !keepsAlive || framing == .untilClose {
            output.append(contentsOf: Self.closeLine)
        } else if version == .http10 {
            output.append(contentsOf: Self.keepAliveLine)
        }
        Self.appendFraming(framing, status, to: &output)
    }

    /// Appends the interim response that asks for the body.
    package static func appendContinue(to output: inout [UInt8]) {
        output.append(contentsOf: continueHead)
    }

    /// Appends the whole head that opens a WebSocket (RFC 6455 section 4.2.2).
    static func appendUpgrade(
        acceptance: String,
        requestID: String,
        fields: HTTPFields,
        to output: inout [UInt8]
    ) {
        output.append(contentsOf: upgradeHead)
        output.append(contentsOf: "Sec-WebSocket-Accept: \(acceptance)\r\n".utf8)
        output.append(contentsOf: "X-Request-Id: \(requestID)\r\n".utf8)
        fields.appendLines(to: &output)
        output.append(.carriageReturn)
        output.append(.lineFeed)
    }

    /// Appends one chunk; an empty one is left out, since it would end the body.
    package static func appendChunk(_ bytes: [UInt8], to output: inout [UInt8]) {
        guard !bytes.isEmpty else { return }
        output.append(contentsOf: String(bytes.count, radix: 16).utf8)
        output.append(.carriageReturn)
        output.append(.lineFeed)
        output.append(contentsOf: bytes)
        output.append(.carriageReturn)
        output.append(.lineFeed)
    }

    /// Appends the end of a body in chunks.
    package static func appendLastChunk(to output: inout [UInt8]) {
        output.append(contentsOf: lastChunk)
    }

    /// Whether a response of this status has no body by definition (RFC 9110 section 6.4.1).
    package static func isBodiless(_ status: Int) -> Bool {
        status < 200 || status == 204 || status == 304
    }

    private static func appendFraming(
        _ framing: ResponseFraming,
        _ status: Int,
        to output: inout [UInt8]
    ) {
        guard !isBodiless(status) else { return }
        switch framing {
        case .length(let length):
            output.append(contentsOf: lengthName)
            appendDecimal(length, to: &output)
            output.append(.carriageReturn)
            output.append(.lineFeed)
        case .chunked: output.append(contentsOf: chunkedLine)
        case .untilClose: break
        }
    }

    static func appendDecimal(_ number: Int, to output: inout [UInt8]) {
        precondition(number >= 0, "a length is not negative")
        var divisor = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            output.append(.zero + UInt8(truncatingIfNeeded: number / divisor % 10))
            divisor /= 10
        }
    }

    private static let closeLine = Array("Connection: close\r\n".utf8)
    private static let keepAliveLine = Array("Connection: keep-alive\r\n".utf8)
    private static let chunkedLine = Array("Transfer-Encoding: chunked\r\n".utf8)
    private static let lengthName = Array("Content-Length: ".utf8)
    private static let continueHead = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
    private static let upgradeHead = Array(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".utf8
    )
    private static let lastChunk = Array("0\r\n\r\n".utf8)
}

extension HTTPFields {
    /// Appends the field lines, in one piece when there is nothing to leave out.
    func appendLines(to output: inout [UInt8]) {
        if isWireForm, !entries.contains(where: isWrittenBySerializer) {
            output.append(contentsOf: bytes)
            return
        }
        for entry in entries where !isWrittenBySerializer(entry) {
            output.append(contentsOf: bytes[entry.name])
            output.append(.colon)
            output.append(.space)
            output.append(contentsOf: bytes[entry.value])
            output.append(.carriageReturn)
            output.append(.lineFeed)
        }
    }

    private func isWrittenBySerializer(_ entry: Entry) -> Bool {
        switch entry.name.count {
        case 4: Self.matches(bytes, entry.name, "date")
        case 10: Self.matches(bytes, entry.name, "connection")
        case 14: Self.matches(bytes, entry.name, "content-length")
        case 17: Self.matches(bytes, entry.name, "transfer-encoding")
        default: false
        }
    }
}
