/// Reads the head of a request in one pass, from any cut of its bytes.
///
/// The bytes that ``scan`` is given always start at the first byte of the head; it goes on where
/// it stopped. Offsets, not bytes, are what it remembers.
struct HeadScanner: Sendable {
    enum State: Sendable {
        case start, emptyLineEnd, requestLine
        case method, target, percentHigh, percentLow, version, requestLineEnd, requestLineFeed
        case fieldStart, fieldName, valueStart, value, valueFeed, headFeed, done
    }

    let limits: HTTPLimits
    var state = State.start
    /// How far the bytes are read.
    var position = 0
    /// Where the part that is being read began.
    var mark = 0
    /// The head must be complete, or the request line at least, before this offset.
    var bound = Int.max

    var method = HTTPMethod.get
    var version = HTTPVersion.http11
    var target = 0..<0
    var queryStart: Int?
    var path = 0..<0
    var authority: Range<Int>?

    var nameEnd = 0
    var valueStart = 0
    var entries: [HTTPFields.Entry] = []
    var facts = FieldFacts()

    init(limits: HTTPLimits) {
        self.limits = limits
    }

    /// Whether anything but an empty line has been read.
    var hasStarted: Bool {
        switch state {
        case .start, .emptyLineEnd, .requestLine: false
        default: true
        }
    }

    /// Reads on; true when the head is complete, and then `position` is its end.
    mutating func scan(_ bytes: Span<UInt8>) throws(RequestError) -> Bool {
        while position < min(bytes.count, bound) {
            switch state {
            case .start, .emptyLineEnd, .requestLine: try scanStart(bytes)
            case .method: try scanMethod(bytes)
            case .target: try scanTarget(bytes)
            case .percentHigh: try scanPercent(bytes, then: .percentLow)
            case .percentLow: try scanPercent(bytes, then: .target)
            case .version: try scanVersion(bytes)
            case .requestLineEnd: try scanRequestLineEnd(bytes)
            case .requestLineFeed: try scanRequestLineFeed(bytes)
            case .fieldStart: try scanFieldStart(bytes)
            case .fieldName: try scanFieldName(bytes)
            case .valueStart: scanValueStart(bytes)
            case .value: try scanValue(bytes)
            case .valueFeed: try scanValueFeed(bytes)
            case .headFeed:
                try expectLineFeed(bytes, then: .done)
                try facts.check(version)
                return true
            case .done: return true
            }
        }
        if position >= bound { throw RequestError(boundError) }
        return false
    }

    private var boundError: RequestError.Code {
        switch state {
        case .start, .emptyLineEnd, .requestLine, .method, .target, .percentHigh, .percentLow,
            .version, .requestLineEnd, .requestLineFeed:
            .requestLineSize
        case .fieldStart, .fieldName, .valueStart, .value, .valueFeed, .headFeed, .done:
            .headerSize
        }
    }

    mutating func expectLineFeed(
        _ bytes: Span<UInt8>,
        then next: State
    ) throws(RequestError) {
        guard bytes[position] == .lineFeed else { throw RequestError(.lineEnding) }
        position += 1
        state = next
    }

    /// The head that was read; `bytes` are those of the head.
    mutating func makeHead(_ bytes: [UInt8]) -> RequestHead {
        var taken: [HTTPFields.Entry] = []
        swap(&taken, &entries)
        return RequestHead(self, entries: taken, bytes: bytes)
    }
}
