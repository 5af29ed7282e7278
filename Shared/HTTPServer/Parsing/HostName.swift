/// The host and port of a request (RFC 3986 section 3.2, without user information).
enum HostName {
    /// Whether `bytes[range]` is `host [ ":" port ]` with a host that is not empty.
    static func isValid(
        _ bytes: Span<UInt8>,
        _ range: Range<Int>,
        requiresPort: Bool
    ) -> Bool {
        guard let first = range.first else { return false }
        var index = first
        if bytes[first] == UInt8(ascii: "[") {
            while index < range.upperBound, bytes[index] != UInt8(ascii: "]") { index &+= 1 }
            guard index < range.upperBound, isIPv6(bytes, first + 1..<index) else { return false }
            index &+= 1
        } else {
            guard skipName(bytes, &index, range.upperBound), index > first else { return false }
        }
        guard index < range.upperBound else { return !requiresPort }
        guard bytes[index] == .colon else { return false }
        return isPort(bytes, index + 1..<range.upperBound, mayBeEmpty: !requiresPort)
    }

    private static func skipName(_ bytes: Span<UInt8>, _ index: inout Int, _ end: Int) -> Bool {
        while index < end {
            if ByteSet.registeredName.contains(bytes[index]) {
                index &+= 1
            } else if bytes[index] == .percent {
                guard index + 2 < end, ByteSet.hex.contains(bytes[index + 1]),
                    ByteSet.hex.contains(bytes[index + 2])
                else { return false }
                index &+= 3
            } else {
                return true
            }
        }
        return true
    }

    private static func isPort(
        _ bytes: Span<UInt8>,
        _ range: Range<Int>,
        mayBeEmpty: Bool
    ) -> Bool {
        guard range.count <= 5, mayBeEmpty || !range.isEmpty else { return false }
        var port = 0
        for index in range {
            guard bytes[index].isDigit else { return false }
            port = port * 10 + Int(bytes[index] &- .zero)
        }
        return port <= 65_535
    }

    /// Eight groups of up to four digits; `::` stands once for at least one group, and the last
    /// two groups may be an IPv4 address.
    static func isIPv6(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var groups = 0
        var isShortened = false
        var index = range.lowerBound
        let end = range.upperBound
        if range.count >= 2, bytes[index] == .colon {
            guard bytes[index + 1] == .colon else { return false }
            isShortened = true
            index += 2
        }
        while index < end {
            let start = index
            while index < end, ByteSet.hex.contains(bytes[index]) { index &+= 1 }
            if index < end, bytes[index] == UInt8(ascii: ".") {
                guard isIPv4(bytes, start..<end) else { return false }
                groups += 2
                break
            }
            guard (1...4).contains(index - start) else { return false }
            groups += 1
            guard index < end else { break }
            guard bytes[index] == .colon, index + 1 < end else { return false }
            index += 1
            if bytes[index] == .colon {
                guard !isShortened else { return false }
                isShortened = true
                index += 1
            }
        }
        return isShortened ? groups < 8 : groups == 8
    }

    private static func isIPv4(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var parts = 0
        var index = range.lowerBound
        while index < range.upperBound {
            let start = index
            var number = 0
            while index < range.upperBound, bytes[index].isDigit, index - start < 4 {
                number = number * 10 + Int(bytes[index] &- .zero)
                index &+= 1
            }
            guard (1...3).contains(index - start), number <= 255 else { return false }
            parts += 1
            guard index < range.upperBound else { break }
            guard bytes[index] == UInt8(ascii: "."), index + 1 < range.upperBound else {
                return false
            }
            index += 1
        }
        return parts == 4
    }
}
