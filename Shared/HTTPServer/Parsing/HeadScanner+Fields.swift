/// Field lines: `name ":" OWS value OWS CRLF` (RFC 9112 section 5).
extension HeadScanner {
    mutating func scanFieldStart(_ bytes: Span<UInt8>) throws(RequestError) {
        switch bytes[position] {
        case .carriageReturn:
            position += 1
            state = .headFeed
        case .space, .tab:
            throw RequestError(.lineFolding)
        case .lineFeed:
            throw RequestError(.lineEnding)
        default:
            guard entries.count < limits.fieldCount else { throw RequestError(.fieldCount) }
            mark = position
            state = .fieldName
        }
    }

    mutating func scanFieldName(_ bytes: Span<UInt8>) throws(RequestError) {
        var index = position
        let end = min(bytes.count, bound)
        while index < end, ByteSet.token.contains(bytes[index]) { index &+= 1 }
        position = index
        guard index < end else { return }
        guard bytes[index] == .colon, index > mark else { throw RequestError(.fieldName) }
        nameEnd = index
        position = index + 1
        state = .valueStart
    }

    mutating func scanValueStart(_ bytes: Span<UInt8>) {
        var index = position
        let end = min(bytes.count, bound)
        while index < end, bytes[index].isBlank { index &+= 1 }
        position = index
        valueStart = index
        if index < end { state = .value }
    }

    mutating func scanValue(_ bytes: Span<UInt8>) throws(RequestError) {
        var index = position
        let end = min(bytes.count, bound)
        while index < end, bytes[index].isFieldContent { index &+= 1 }
        position = index
        guard index < end else { return }
        guard bytes[index] == .carriageReturn else {
            throw RequestError(bytes[index] == .lineFeed ? .lineEnding : .fieldValue)
        }
        position = index + 1
        state = .valueFeed
    }

    mutating func scanValueFeed(_ bytes: Span<UInt8>) throws(RequestError) {
        var valueEnd = position - 1
        try expectLineFeed(bytes, then: .fieldStart)
        while valueEnd > valueStart, bytes[valueEnd - 1].isBlank { valueEnd &-= 1 }
        if entries.isEmpty { entries.reserveCapacity(16) }
        entries.append(
            HTTPFields.Entry(
                nameStart: UInt32(truncatingIfNeeded: mark),
                nameEnd: UInt32(truncatingIfNeeded: nameEnd),
                valueStart: UInt32(truncatingIfNeeded: valueStart),
                valueEnd: UInt32(truncatingIfNeeded: valueEnd)
            )
        )
        try facts.note(bytes, name: mark..<nameEnd, value: valueStart..<valueEnd)
    }
}
