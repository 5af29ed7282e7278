internal import struct FoundationEssentials.UUID

/// Values as the server writes them in text form.
enum PostgresText {
    static func integer(_ text: ArraySlice<UInt8>) -> Int64? {
        var rest = text
        let negative = rest.first == UInt8(ascii: "-")
        if negative { rest.removeFirst() }
        guard !rest.isEmpty else { return nil }
        // Counted downwards, so that the smallest number fits.
        var value: Int64 = 0
        for byte in rest {
            guard (48...57).contains(byte) else { return nil }
            let (shifted, tooBig) = value.multipliedReportingOverflow(by: 10)
            let (sum, tooBigToo) = shifted.subtractingReportingOverflow(Int64(byte - 48))
            if tooBig || tooBigToo { return nil }
            value = sum
        }
        if negative { return value }
        return value == .min ? nil : -value
    }

    static func uuid(_ text: ArraySlice<UInt8>) -> UUID? {
        guard text.count == 36 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16)
        var index = text.startIndex
        while bytes.count < 16 {
            if bytes.count == 4 || bytes.count == 6 || bytes.count == 8 || bytes.count == 10 {
                guard text[index] == UInt8(ascii: "-") else { return nil }
                index += 1
            }
            guard index + 1 < text.endIndex, let high = Hex.value(text[index]),
                let low = Hex.value(text[index + 1])
            else { return nil }
            bytes.append(high << 4 | low)
            index += 2
        }
        let b = bytes
        return UUID(
            uuid: (
                b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
                b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]
            )
        )
    }

    /// `\x` and two digits a byte: sessions run with `bytea_output = hex`.
    static func bytea(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        guard text.count.isMultiple(of: 2), text.starts(with: Array(#"\x"#.utf8)) else {
            return nil
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 2 - 1)
        var index = text.startIndex + 2
        while index < text.endIndex {
            guard let high = Hex.value(text[index]), let low = Hex.value(text[index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
            index += 2
        }
        return bytes
    }

    /// The elements of a one-dimensional array, nil for NULL; nil when it is none
    /// (the manual, 8.15.6).
    static func array(_ text: ArraySlice<UInt8>) -> [[UInt8]?]? {
        guard text.count >= 2, text.first == UInt8(ascii: "{"), text.last == UInt8(ascii: "}")
        else {
            return nil
        }
        var rest = text.dropFirst().dropLast()
        var elements: [[UInt8]?] = []
        if rest.isEmpty { return elements }
        while true {
            if rest.first == UInt8(ascii: "\"") {
                guard let element = quoted(&rest) else { return nil }
                elements.append(element)
            } else {
                let element = Array(rest.prefix { $0 != UInt8(ascii: ",") })
                guard !element.isEmpty, !element.contains(UInt8(ascii: "{")) else { return nil }
                elements.append(element == Array("NULL".utf8) ? nil : element)
                rest.removeFirst(element.count)
            }
            if rest.isEmpty { return elements }
            guard rest.removeFirst() == UInt8(ascii: ",") else { return nil }
        }
    }

    private static func quoted(_ rest: inout ArraySlice<UInt8>) -> [UInt8]? {
        rest.removeFirst()
        var element: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return element
            case UInt8(ascii: "\\"):
                guard let escaped = rest.popFirst() else { return nil }
                element.append(escaped)
            default: element.append(byte)
            }
        }
        return nil
    }
}
