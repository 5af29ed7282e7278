/// A JSON value.
///
/// Integers within `Int64` are kept exactly; every other number is a finite `Double`.
public enum JSON: Sendable, Hashable {
    /// The literal `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number written without fraction and exponent.
    case int(Int64)
    /// A number written with a fraction or an exponent.
    case double(Double)
    /// A string.
    case string(String)
    /// An array.
    case array([JSON])
    /// An object; its members keep their order.
    case object(JSONObject)
}

// MARK: Reading a value

extension JSON {
    /// Parses one whole document (RFC 8259), strictly.
    ///
    /// Refused besides malformed text: a byte order mark, duplicate member names, nesting deeper
    /// than `limits.depthMax`, invalid UTF-8, lone surrogates, integers that `Int64` and numbers
    /// that `Double` cannot hold, bytes after the value.
    public init(
        parsing bytes: [UInt8],
        limits: JSONLimits = .standard
    ) throws(JSONError) {
        self = try JSONParser.parse(bytes.span, limits: limits)
    }

    /// Parses one whole document, strictly, from borrowed bytes.
    public init(
        parsing bytes: Span<UInt8>,
        limits: JSONLimits = .standard
    ) throws(JSONError) {
        self = try JSONParser.parse(bytes, limits: limits)
    }

    /// The member named `name`; nil when there is none or this is not an object.
    public subscript(name: String) -> JSON? {
        objectValue?[name]
    }

    /// The element at `index`; nil when out of bounds or when this is not an array.
    public subscript(index: Int) -> JSON? {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
        return elements[index]
    }

    /// Whether this is the literal `null`.
    public var isNull: Bool { self == .null }

    /// The truth value, if this is one.
    public var boolValue: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    /// The integer, if this is one; `1.0` and `1e3` count as integers, `1.5` does not.
    public var intValue: Int64? {
        switch self {
        case .int(let value): value
        case .double(let value): Int64(exactly: value)
        case .null, .bool, .string, .array, .object: nil
        }
    }

    /// The number, if this is one; integers above 2^53 are rounded.
    public var doubleValue: Double? {
        switch self {
        case .int(let value): Double(value)
        case .double(let value): value
        case .null, .bool, .string, .array, .object: nil
        }
    }

    /// The string, if this is one.
    public var stringValue: String? {
        guard case .string(let value) = self else { return nil }
        return value
    }

    /// The elements, if this is an array.
    public var arrayValue: [JSON]? {
        guard case .array(let value) = self else { return nil }
        return value
    }

    /// The object, if this is one.
    public var objectValue: JSONObject? {
        guard case .object(let value) = self else { return nil }
        return value
    }
}

// MARK: Making a value

extension JSON {
    /// A string, or `null` for nil.
    public init(_ value: String?) {
        self = value.map { .string($0) } ?? .null
    }

    /// An integer, or `null` for nil.
    public init(_ value: Int64?) {
        self = value.map { .int($0) } ?? .null
    }

    /// An integer, or `null` for nil.
    public init(_ value: Int?) {
        self = value.map { .int(Int64($0)) } ?? .null
    }

    /// A number, or `null` for nil.
    public init(_ value: Double?) {
        self = value.map { .double($0) } ?? .null
    }

    /// A truth value, or `null` for nil.
    public init(_ value: Bool?) {
        self = value.map { .bool($0) } ?? .null
    }

    /// An array of strings.
    public init(_ values: [String]) {
        self = .array(values.map { .string($0) })
    }

    /// The value as compact JSON text; what parsing it gives is equal to the value.
    public func serialized() -> [UInt8] {
        var writer = JSONWriter()
        writer.value(self)
        return writer.bytes
    }

    /// The value as compact JSON text.
    public var text: String {
        String(decoding: serialized(), as: UTF8.self)
    }
}
