/// What the bytes of a connection mean, one fact at a time.
package enum RequestEvent: Sendable {
    /// All bytes are consumed and the request goes on: read more.
    case needsMore
    /// The head is complete; call ``RequestParser/acceptBody(limit:)`` before ``RequestParser/next(_:_:end:)``.
    case head(RequestHead)
    /// These bytes of the input belong to the body.
    case body(Range<Int>)
    /// The request is complete; the bytes that follow are the next one.
    case end
    /// The bytes are no request; nothing after them may be answered.
    case failed(RequestError)
}

/// Cuts the bytes of one connection into requests (RFC 9112), strictly.
///
///     idle ──▶ head ──▶ decision ──▶ body ──▶ idle
///                │          │          │
///                └──────────┴──────────┴────▶ failed
///
/// The events do not depend on where the input is cut, but for the cuts of body ranges. There is
/// no tolerant proxy to please, so nothing is repaired: what two servers might read differently
/// is refused.
package struct RequestParser: Sendable {
    /// What the parser waits for.
    package enum Phase: Sendable, Hashable {
        /// Nothing of the next request has come, except perhaps one empty line.
        case idle
        case head
        /// The head is out; the owner has to accept or to refuse the body.
        case decision
        case body
        case failed(RequestError)
    }

    /// What the parser waits for; an end of input is clean only when idle.
    package private(set) var phase = Phase.idle

    private let limits: HTTPLimits
    private var scanner: HeadScanner
    private var decoder: BodyDecoder
    /// The bytes of a head that did not come in one piece.
    private var kept: [UInt8] = []

    /// A parser at the start of a connection.
    package init(limits: HTTPLimits = HTTPLimits()) {
        self.limits = limits
        scanner = HeadScanner(limits: limits)
        decoder = BodyDecoder(framing: .none, limit: 0, limits: limits)
    }

    /// Reads on in `input[position..<end]`, moves `position` past what it consumed.
    ///
    /// Call it until it answers `needsMore` or `failed`. Then the input may be thrown away: the
    /// parser keeps what it still needs. A failing call and all calls after it consume nothing.
    package mutating func next(
        _ input: [UInt8],
        _ position: inout Int,
        end: Int
    ) -> RequestEvent {
        let start = position
        do throws(RequestError) {
            switch phase {
            case .idle, .head: return try readHead(input, &position, end)
            case .decision: preconditionFailure("the body was neither accepted nor refused")
            case .body: return try readBody(input, &position, end)
            case .failed(let error): return .failed(error)
            }
        } catch {
            position = start
            return fail(error)
        }
    }

    /// Takes the body of the request whose head came last, up to `limit` bytes.
    ///
    /// Returns the error when the declared length is over the limit: then the connection has
    /// failed, and no byte of the body is read. Call it before `100 Continue` is sent.
    package mutating func acceptBody(limit: Int) -> RequestError? {
        precondition(phase == .decision, "there is no head to decide on")
        decoder.limit = limit
        if case .length(let length) = decoder.framing, length > limit {
            let error = RequestError(.bodySize)
            phase = .failed(error)
            return error
        }
        phase = .body
        return nil
    }

    private mutating func fail(_ error: RequestError) -> RequestEvent {
        phase = .failed(error)
        kept = []
        return .failed(error)
    }

    private mutating func readHead(
        _ input: [UInt8],
        _ position: inout Int,
        _ end: Int
    ) throws(RequestError) -> RequestEvent {
        let start = position
        guard start < end else { return .needsMore }
        guard kept.isEmpty else { return try resumeHead(input, &position, end) }
        let isComplete = try scanner.scan(input.span.extracting(start..<end))
        guard isComplete else {
            kept.append(contentsOf: input[start..<end])
            position = end
            phase = scanner.hasStarted ? .head : .idle
            return .needsMore
        }
        let size = scanner.position
        position = start + size
        return finishHead(Array(input[start..<position]))
    }

    /// Goes on with a head whose first bytes came earlier.
    private mutating func resumeHead(
        _ input: [UInt8],
        _ position: inout Int,
        _ end: Int
    ) throws(RequestError) -> RequestEvent {
        var bytes: [UInt8] = []
        swap(&bytes, &kept)
        // The scanner fails at its limits, so more than this is never looked at.
        let before = bytes.count
        let taken = min(end - position, limits.headSizeMax - before)
        bytes.append(contentsOf: input[position..<position + taken])
        guard try scanner.scan(bytes.span) else {
            position += taken
            phase = scanner.hasStarted ? .head : .idle
            swap(&bytes, &kept)
            return .needsMore
        }
        let size = scanner.position
        position += size - before
        bytes.removeLast(bytes.count - size)
        return finishHead(bytes)
    }

    private mutating func finishHead(_ bytes: [UInt8]) -> RequestEvent {
        let head = scanner.makeHead(bytes)
        scanner = HeadScanner(limits: limits)
        decoder = BodyDecoder(framing: head.framing, limit: 0, limits: limits)
        phase = .decision
        return .head(head)
    }

    private mutating func readBody(
        _ input: [UInt8],
        _ position: inout Int,
        _ end: Int
    ) throws(RequestError) -> RequestEvent {
        switch try decoder.next(input.span, &position, end: end) {
        case .needsMore: return .needsMore
        case .bytes(let range): return .body(range)
        case .end:
            phase = .idle
            return .end
        }
    }
}

extension HTTPLimits {
    /// More bytes than these a head never has: one empty line, the request line, the fields.
    var headSizeMax: Int { 2 + requestLineSize + 2 + headerSize }
}
