/// Finds the bytes of a body and its end (RFC 9112 sections 6 and 7.1).
package struct BodyDecoder: Sendable {
    /// What the bytes of the input are.
    package enum Step: Sendable, Hashable {
        case needsMore
        /// These bytes of the input belong to the body.
        case bytes(Range<Int>)
        case end
    }

    enum State: Sendable {
        case length
        case sizeStart, size, extensions, sizeFeed
        case data, dataReturn, dataFeed
        case trailerStart, trailerName, trailerValue, trailerFeed, endFeed
        case done
    }

    /// How the body ends.
    package let framing: BodyFraming
    /// Bytes that the body may have; a declared length is checked by the owner.
    package var limit: Int

    let limits: HTTPLimits
    var state: State
    /// Bytes still to come, of the body or of the chunk.
    var remaining: UInt64 = 0
    /// Bytes that all chunks so far have declared.
    var total: UInt64 = 0
    var sizeDigits = 0
    var extensions = ParameterScanner()
    var extensionSize = 0
    var extensionTotalSize = 0
    var trailerSize = 0
    var trailerCount = 0
    var trailerNameSize = 0

    /// A decoder at the first byte after the head.
    package init(framing: BodyFraming, limit: Int, limits: HTTPLimits = HTTPLimits()) {
        self.framing = framing
        self.limit = limit
        self.limits = limits
        switch framing {
        case .none: state = .done
        case .length(let length):
            remaining = UInt64(length)
            state = .length
        case .chunked: state = .sizeStart
        }
    }

    /// Reads on in `input[position..<end]` and moves `position` past what it consumed.
    package mutating func next(
        _ input: Span<UInt8>,
        _ position: inout Int,
        end: Int
    ) throws(RequestError) -> Step {
        while position < end {
            switch state {
            case .length, .data: return takeBytes(&position, end)
            case .sizeStart, .size: try readSize(input, &position, end)
            case .extensions: try readExtensions(input, &position, end)
            case .sizeFeed: try finishSizeLine(input, &position)
            case .dataReturn:
                try expect(.carriageReturn, input, &position, then: .dataFeed, else: .chunkEnd)
            case .dataFeed:
                try expect(.lineFeed, input, &position, then: .sizeStart, else: .chunkEnd)
            case .trailerStart, .trailerName, .trailerValue, .trailerFeed, .endFeed:
                try readTrailer(input, &position, end)
            case .done: return .end
            }
        }
        return state == .done ? .end : .needsMore
    }

    private mutating func takeBytes(_ position: inout Int, _ end: Int) -> Step {
        let count = Int(min(remaining, UInt64(end - position)))
        let range = position..<position + count
        position += count
        remaining -= UInt64(count)
        if remaining == 0 { state = state == .length ? .done : .dataReturn }
        return .bytes(range)
    }

    mutating func expect(
        _ byte: UInt8,
        _ input: Span<UInt8>,
        _ position: inout Int,
        then next: State,
        else code: RequestError.Code
    ) throws(RequestError) {
        guard input[position] == byte else { throw RequestError(code) }
        position += 1
        state = next
    }
}

// MARK: - The line before a chunk: size, extensions, CRLF

extension BodyDecoder {
    /// 1 to 16 hexadecimal digits, so 64 bits always hold the size.
    private mutating func readSize(
        _ input: Span<UInt8>,
        _ position: inout Int,
        _ end: Int
    ) throws(RequestError) {
        if state == .sizeStart {
            (remaining, sizeDigits, extensionSize) = (0, 0, 0)
            extensions = ParameterScanner()
            state = .size
        }
        while position < end {
            let byte = input[position]
            if let digit = byte.hexValue {
                sizeDigits += 1
                guard sizeDigits <= 16 else { throw RequestError(.chunkSize) }
                remaining = remaining &<< 4 | UInt64(digit)
                position += 1
                continue
            }
            guard sizeDigits > 0 else { throw RequestError(.chunkSize) }
            switch byte {
            case .carriageReturn:
                position += 1
                state = .sizeFeed
            case .semicolon, .space, .tab: state = .extensions
            case .lineFeed: throw RequestError(.lineEnding)
            default: throw RequestError(.chunkSize)
            }
            return
        }
    }

    private mutating func readExtensions(
        _ input: Span<UInt8>,
        _ position: inout Int,
        _ end: Int
    ) throws(RequestError) {
        while position < end {
            let byte = input[position]
            position += 1
            if byte == .carriageReturn {
                guard extensions.mayEndLine else { throw RequestError(.chunkExtension) }
                state = .sizeFeed
                return
            }
            guard extensions.take(byte) else {
                throw RequestError(byte == .lineFeed ? .lineEnding : .chunkExtension)
            }
            extensionSize += 1
            extensionTotalSize += 1
            guard extensionSize <= limits.chunkExtensionSize,
                extensionTotalSize <= limits.chunkExtensionTotalSize
            else { throw RequestError(.chunkExtensionSize) }
        }
    }

    private mutating func finishSizeLine(
        _ input: Span<UInt8>,
        _ position: inout Int
    ) throws(RequestError) {
        let isLast = remaining == 0
        try expect(
            .lineFeed,
            input,
            &position,
            then: isLast ? .trailerStart : .data,
            else: .lineEnding
        )
        let room = UInt64(max(0, limit)) - min(total, UInt64(max(0, limit)))
        guard remaining <= room else { throw RequestError(.bodySize) }
        total += remaining
    }
}

// MARK: - Trailers: checked like fields, and thrown away

extension BodyDecoder {
    private mutating func readTrailer(
        _ input: Span<UInt8>,
        _ position: inout Int,
        _ end: Int
    ) throws(RequestError) {
        while position < end, state != .done {
            trailerSize += 1
            guard trailerSize <= limits.trailerSize else { throw RequestError(.trailerSize) }
            state = try trailerState(after: input[position])
            position += 1
        }
    }

    private mutating func trailerState(after byte: UInt8) throws(RequestError) -> State {
        switch state {
        case .trailerStart:
            if byte == .carriageReturn { return .endFeed }
            trailerCount += 1
            guard trailerCount <= limits.fieldCount else { throw RequestError(.fieldCount) }
            guard ByteSet.token.contains(byte) else { throw trailerError(byte) }
            return .trailerName
        case .trailerName:
            if byte == .colon { return .trailerValue }
            guard ByteSet.token.contains(byte) else { throw trailerError(byte) }
            return .trailerName
        case .trailerValue:
            if byte == .carriageReturn { return .trailerFeed }
            guard byte.isFieldContent else { throw trailerError(byte) }
            return .trailerValue
        case .trailerFeed, .endFeed:
            guard byte == .lineFeed else { throw RequestError(.lineEnding) }
            return state == .endFeed ? .done : .trailerStart
        case .length, .sizeStart, .size, .extensions, .sizeFeed, .data, .dataReturn, .dataFeed,
            .done:
            return state
        }
    }

    private func trailerError(_ byte: UInt8) -> RequestError {
        RequestError(byte == .lineFeed ? .lineEnding : .trailer)
    }
}
