/// The request line: `method SP target SP version CRLF` (RFC 9112 section 3).
extension HeadScanner {
    /// One empty line may stand before the request line (RFC 9112 section 2.2).
    mutating func scanStart(_ bytes: Span<UInt8>) throws(RequestError) {
        let byte = bytes[position]
        if state == .emptyLineEnd {
            return try expectLineFeed(bytes, then: .requestLine)
        }
        if state == .start, byte == .carriageReturn {
            position += 1
            state = .emptyLineEnd
            return
        }
        mark = position
        bound = position + limits.requestLineSize + 2
        state = .method
    }

    mutating func scanMethod(_ bytes: Span<UInt8>) throws(RequestError) {
        var index = position
        let end = min(bytes.count, mark + limits.methodLength + 1)
        while index < end, ByteSet.token.contains(bytes[index]) { index &+= 1 }
        position = index
        guard index < end else {
            if index - mark > limits.methodLength { throw RequestError(.methodLength) }
            return
        }
        guard bytes[index] == .space, index > mark else {
            if bytes[index] == .lineFeed { throw RequestError(.lineEnding) }
            throw RequestError(index > mark ? .method : .requestLine)
        }
        method = HTTPMethod(token: bytes, mark..<index)
        position = index + 1
        mark = position
        state = .target
    }

    mutating func scanTarget(_ bytes: Span<UInt8>) throws(RequestError) {
        var index = position
        let end = min(bytes.count, bound)
        while index < end, ByteSet.plainTarget.contains(bytes[index]) { index &+= 1 }
        position = index
        guard index < end else { return }
        position = index + 1
        switch bytes[index] {
        case .space:
            target = mark..<index
            try checkTarget(bytes)
            mark = position
            state = .version
        case .percent:
            state = .percentHigh
        case .question:
            if queryStart == nil { queryStart = position }
        case .carriageReturn:
            throw RequestError(.requestLine)
        case .lineFeed:
            throw RequestError(.lineEnding)
        default:
            throw RequestError(.target)
        }
    }

    mutating func scanPercent(
        _ bytes: Span<UInt8>,
        then next: State
    ) throws(RequestError) {
        guard ByteSet.hex.contains(bytes[position]) else { throw RequestError(.target) }
        position += 1
        state = next
    }

    /// `HTTP/1.0` or `HTTP/1.1`, and nothing else.
    mutating func scanVersion(_ bytes: Span<UInt8>) throws(RequestError) {
        let name: UInt64 = 0x4854_5450_2f31_2e00  // "HTTP/1." and a byte that is looked at apart
        let end = min(bytes.count, bound)
        while position < end {
            let byte = bytes[position]
            let offset = position - mark
            if offset == 7 {
                guard byte == .zero || byte == .zero + 1 else { throw versionError(byte) }
                version = byte == .zero ? .http10 : .http11
                position += 1
                state = .requestLineEnd
                return
            }
            guard byte == UInt8(truncatingIfNeeded: name &>> UInt64(56 - 8 * offset)) else {
                throw versionError(byte)
            }
            position += 1
        }
    }

    mutating func scanRequestLineEnd(_ bytes: Span<UInt8>) throws(RequestError) {
        guard bytes[position] == .carriageReturn else { throw versionError(bytes[position]) }
        position += 1
        state = .requestLineFeed
    }

    mutating func scanRequestLineFeed(_ bytes: Span<UInt8>) throws(RequestError) {
        try expectLineFeed(bytes, then: .fieldStart)
        bound = position + limits.headerSize
    }

    /// Another version when the byte could be part of one, a broken line otherwise.
    private func versionError(_ byte: UInt8) -> RequestError {
        switch byte {
        case 0x21...0x7e: RequestError(.version)
        case .lineFeed: RequestError(.lineEnding)
        default: RequestError(.requestLine)
        }
    }
}

// MARK: - Forms of the target (RFC 9112 section 3.2)

extension HeadScanner {
    private mutating func checkTarget(_ bytes: Span<UInt8>) throws(RequestError) {
        guard !target.isEmpty else { throw RequestError(.requestLine) }
        if method == .connect {
            guard HostName.isValid(bytes, target, requiresPort: true) else {
                throw RequestError(.target)
            }
            authority = target
            path = target
            return
        }
        let pathEnd = queryStart.map { $0 - 1 } ?? target.upperBound
        switch bytes[target.lowerBound] {
        case .slash:
            path = target.lowerBound..<pathEnd
        case UInt8(ascii: "*") where target.count == 1 && method == .options:
            path = target
        default:
            try checkAbsoluteTarget(bytes, pathEnd)
        }
    }

    /// `http://authority/path?query`; the path may be empty.
    private mutating func checkAbsoluteTarget(
        _ bytes: Span<UInt8>,
        _ pathEnd: Int
    ) throws(RequestError) {
        guard let start = authorityStart(bytes) else { throw RequestError(.target) }
        var index = start
        while index < pathEnd, bytes[index] != .slash { index &+= 1 }
        guard HostName.isValid(bytes, start..<index, requiresPort: false) else {
            throw RequestError(.target)
        }
        authority = start..<index
        path = index..<pathEnd
    }

    private func authorityStart(_ bytes: Span<UInt8>) -> Int? {
        for scheme in ["http://", "https://"] {
            let length = scheme.utf8.count
            let start = target.lowerBound
            guard target.count > length else { continue }
            if HTTPFields.matches(bytes, start..<start + length, scheme.utf8.span) {
                return start + length
            }
        }
        return nil
    }
}
