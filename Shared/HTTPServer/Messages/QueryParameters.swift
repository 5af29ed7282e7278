/// The parameters of a query (`application/x-www-form-urlencoded`), decoded, in order.
public struct QueryParameters: Sendable {
    /// Every name with its value.
    public let items: [(name: String, value: String)]

    /// No parameters.
    public init() { items = [] }

    /// Parameters that are decoded already.
    public init(_ items: [(name: String, value: String)]) { self.items = items }

    /// Reads a query without its `?`; nil when something in it is not UTF-8.
    ///
    /// A part without `=` is a name with an empty value; empty parts are ignored.
    init?(_ query: ArraySlice<UInt8>) {
        var items: [(name: String, value: String)] = []
        var rest = query
        while !rest.isEmpty {
            let end = rest.firstIndex(of: UInt8(ascii: "&")) ?? rest.endIndex
            let part = rest[..<end]
            rest = rest[end...].dropFirst()
            guard !part.isEmpty else { continue }
            let equals = part.firstIndex(of: .equals) ?? part.endIndex
            guard let name = PercentCoding.decodeForm(part[..<equals]),
                let value = PercentCoding.decodeForm(part[equals...].dropFirst())
            else { return nil }
            items.append((name, value))
        }
        self.items = items
    }

    /// The first value of `name`.
    public subscript(name: String) -> String? {
        items.first { $0.name == name }?.value
    }

    /// All values of `name`, in order.
    public func values(_ name: String) -> [String] {
        items.filter { $0.name == name }.map(\.value)
    }

    /// An integer.
    ///
    /// - Throws: a 422 that names the parameter, when it is there and no integer within `range`.
    public func int(_ name: String, in range: ClosedRange<Int>) throws(Problem) -> Int? {
        guard let text = self[name] else { return nil }
        // `Int("+1")` would pass.
        guard text.utf8.allSatisfy({ $0.isDigit || $0 == 0x2d }), let value = Int(text),
            range.contains(value)
        else {
            let bounds = "an integer from \(range.lowerBound) to \(range.upperBound)"
            throw .invalid("/query/\(name)", "must be \(bounds)")
        }
        return value
    }

    /// A truth value, written `true` or `false`.
    ///
    /// - Throws: a 422 that names the parameter, when it is something else.
    public func bool(_ name: String) throws(Problem) -> Bool? {
        switch self[name] {
        case nil: nil
        case "true": true
        case "false": false
        default: throw .invalid("/query/\(name)", "must be true or false")
        }
    }
}

/// Percent-coding (RFC 3986 section 2.1).
enum PercentCoding {
    /// The decoded bytes; nil when they are not UTF-8 or hold a NUL.
    static func decode(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        let isEncoded = bytes.contains(.percent)
        let decoded = isEncoded ? decodedBytes(bytes, plusIsSpace: false)[...] : bytes
        return isText(decoded.span) ? decoded : nil
    }

    /// The decoded text of a form, where `+` is a space.
    static func decodeForm(_ bytes: ArraySlice<UInt8>) -> String? {
        guard bytes.contains(where: { $0 == .percent || $0 == UInt8(ascii: "+") }) else {
            return text(bytes)
        }
        return text(decodedBytes(bytes, plusIsSpace: true)[...])
    }

    /// The decoded bytes; a `%` that no two digits follow stands for itself.
    static func decodedBytes(_ bytes: ArraySlice<UInt8>, plusIsSpace: Bool) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = bytes.startIndex
        while index < bytes.endIndex {
            let byte = bytes[index]
            if byte == .percent, index + 2 < bytes.endIndex,
                let high = bytes[index + 1].hexValue, let low = bytes[index + 2].hexValue
            {
                result.append(high << 4 | low)
                index += 3
                continue
            }
            result.append(plusIsSpace && byte == UInt8(ascii: "+") ? .space : byte)
            index += 1
        }
        return result
    }

    /// `String(validating:as:)` looks a generic type up with each call (Swift 6.3.1).
    private static func text(_ bytes: ArraySlice<UInt8>) -> String? {
        isText(bytes.span) ? String(decoding: bytes, as: UTF8.self) : nil
    }

    private static func isText(_ bytes: Span<UInt8>) -> Bool {
        for index in bytes.indices where bytes[index] == 0 { return false }
        return (try? UTF8Span(validating: bytes)) != nil
    }
}
