/// What the fields of a head say about the message itself (RFC 9112 sections 3.2, 6 and 9).
struct FieldFacts: Sendable {
    private enum TransferCoding { case none, chunked, unsupported }

    private(set) var host: Range<Int>?
    private var hostCount = 0
    private var hostIsValid = true
    private var length: Int?
    private var coding = TransferCoding.none
    private var closes = false
    private var asksForKeepAlive = false
    private(set) var expectsContinue = false
    private var hasOtherExpectation = false

    init() {}

    /// Takes notice of one field; most are told apart by the length of the name alone.
    @inline(__always)
    mutating func note(
        _ bytes: Span<UInt8>,
        name: Range<Int>,
        value: Range<Int>
    ) throws(RequestError) {
        switch name.count {
        case 4, 6, 10, 14, 17: try noteCandidate(bytes, name, value)
        default: break
        }
    }

    private mutating func noteCandidate(
        _ bytes: Span<UInt8>,
        _ name: Range<Int>,
        _ value: Range<Int>
    ) throws(RequestError) {
        switch (name.count, bytes[name.lowerBound] | 0x20) {
        case (4, UInt8(ascii: "h")) where spells(bytes, name, "host"):
            hostCount += 1
            host = value
            hostIsValid = hostIsValid && HostName.isValid(bytes, value, requiresPort: false)
        case (6, UInt8(ascii: "e")) where spells(bytes, name, "expect"):
            if spells(bytes, value, "100-continue") {
                expectsContinue = true
            } else {
                hasOtherExpectation = true
            }
        case (10, UInt8(ascii: "c")) where spells(bytes, name, "connection"):
            noteConnection(bytes, value)
        case (14, UInt8(ascii: "c")) where spells(bytes, name, "content-length"):
            guard length == nil else { throw RequestError(.contentLength) }
            length = try parseLength(bytes, value)
        case (17, UInt8(ascii: "t")) where spells(bytes, name, "transfer-encoding"):
            let isFirst = coding == .none
            let isChunked = try parseCoding(bytes, value)
            coding = isFirst && isChunked ? .chunked : .unsupported
        default: break
        }
    }

    /// Checks what can only be known when all fields have been seen.
    func check(_ version: HTTPVersion) throws(RequestError) {
        if coding != .none {
            if length != nil { throw RequestError(.lengthAndCoding) }
            if version == .http10 { throw RequestError(.codingInHTTP10) }
            if coding == .unsupported { throw RequestError(.unsupportedCoding) }
        }
        guard hostIsValid, hostCount == 1 || (hostCount == 0 && version == .http10) else {
            throw RequestError(.host)
        }
        if hasOtherExpectation { throw RequestError(.expectation) }
    }

    /// How the body ends; valid once checked.
    var framing: BodyFraming {
        if coding == .chunked { return .chunked }
        guard let length, length > 0 else { return .none }
        return .length(length)
    }

    /// Whether the connection outlives the request: the default depends on the version.
    func keepsAlive(_ version: HTTPVersion) -> Bool {
        !closes && (version == .http11 || asksForKeepAlive)
    }
}

// MARK: - Values

extension FieldFacts {
    @inline(__always)
    private func spells(_ bytes: Span<UInt8>, _ range: Range<Int>, _ word: String) -> Bool {
        HTTPFields.matches(bytes, range, word.utf8.span)
    }

    private mutating func noteConnection(_ bytes: Span<UInt8>, _ value: Range<Int>) {
        var start = value.lowerBound
        while start < value.upperBound {
            var end = start
            while end < value.upperBound, bytes[end] != .comma { end &+= 1 }
            var option = start..<end
            while let first = option.first, bytes[first].isBlank { option.removeFirst() }
            while let last = option.last, bytes[last].isBlank { option.removeLast() }
            if spells(bytes, option, "close") { closes = true }
            if spells(bytes, option, "keep-alive") { asksForKeepAlive = true }
            start = end + 1
        }
    }

    /// 1 to 19 digits; a number that no integer holds is larger than every limit.
    private func parseLength(
        _ bytes: Span<UInt8>,
        _ value: Range<Int>
    ) throws(RequestError) -> Int {
        guard (1...19).contains(value.count) else { throw RequestError(.contentLength) }
        var number: UInt64 = 0
        for index in value {
            guard bytes[index].isDigit else { throw RequestError(.contentLength) }
            number = number * 10 + UInt64(bytes[index] &- .zero)
        }
        return Int(clamping: number)
    }

    /// True for `chunked` alone, false for other well-formed codings.
    private func parseCoding(
        _ bytes: Span<UInt8>,
        _ value: Range<Int>
    ) throws(RequestError) -> Bool {
        if spells(bytes, value, "chunked") { return true }
        guard TransferCodings.isWellFormed(bytes, value) else {
            throw RequestError(.transferCoding)
        }
        return false
    }
}
