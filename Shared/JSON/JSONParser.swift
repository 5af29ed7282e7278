/// Reads one document in one pass; see ``JSON/init(parsing:limits:)-([UInt8],_)``.
///
/// The bytes are handed from method to method rather than stored: a borrowed span must not outlive
/// the call, and this way the compiler sees that it does not.
struct JSONParser {
    let limits: JSONLimits
    var position = 0

    static func parse(
        _ bytes: Span<UInt8>,
        limits: JSONLimits
    ) throws(JSONError) -> JSON {
        var parser = JSONParser(limits: limits)
        if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF {
            throw JSONError(.byteOrderMark, at: 0)
        }
        let value = try parser.value(bytes, depth: 0)
        parser.skipWhitespace(bytes)
        guard parser.position == bytes.count else { throw parser.error(.trailingBytes) }
        return value
    }

    func error(_ code: JSONError.Code) -> JSONError {
        JSONError(code, at: position)
    }

    /// The next byte; throws at the end of the document.
    func next(_ bytes: Span<UInt8>) throws(JSONError) -> UInt8 {
        guard position < bytes.count else { throw error(.unexpectedEnd) }
        return bytes[position]
    }

    mutating func skipWhitespace(_ bytes: Span<UInt8>) {
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"):
                position += 1
            default: return
            }
        }
    }

    private mutating func value(
        _ bytes: Span<UInt8>,
        depth: Int
    ) throws(JSONError) -> JSON {
        skipWhitespace(bytes)
        switch try next(bytes) {
        case UInt8(ascii: "\""): return .string(try string(bytes))
        case UInt8(ascii: "{"): return .object(try object(bytes, depth: depth))
        case UInt8(ascii: "["): return .array(try array(bytes, depth: depth))
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number(bytes)
        case UInt8(ascii: "t"): return try literal(bytes, "true", .bool(true))
        case UInt8(ascii: "f"): return try literal(bytes, "false", .bool(false))
        case UInt8(ascii: "n"): return try literal(bytes, "null", .null)
        default: throw error(.unexpectedByte)
        }
    }

    private mutating func literal(
        _ bytes: Span<UInt8>,
        _ text: StaticString,
        _ value: JSON
    ) throws(JSONError) -> JSON {
        for expected in text.description.utf8 {
            guard try next(bytes) == expected else { throw error(.unexpectedByte) }
            position += 1
        }
        return value
    }

    // MARK: Containers

    private mutating func object(
        _ bytes: Span<UInt8>,
        depth: Int
    ) throws(JSONError) -> JSONObject {
        guard depth < limits.depthMax else { throw error(.depthExceeded) }
        position += 1
        var object = JSONObject()
        skipWhitespace(bytes)
        if try next(bytes) == UInt8(ascii: "}") {
            position += 1
            return object
        }
        while true {
            try member(bytes, of: &object, depth: depth)
            skipWhitespace(bytes)
            switch try next(bytes) {
            case UInt8(ascii: ","):
                position += 1
                skipWhitespace(bytes)
            case UInt8(ascii: "}"):
                position += 1
                return object
            default: throw error(.unexpectedByte)
            }
        }
    }

    private mutating func member(
        _ bytes: Span<UInt8>,
        of object: inout JSONObject,
        depth: Int
    ) throws(JSONError) {
        let start = position
        guard try next(bytes) == UInt8(ascii: "\"") else { throw error(.unexpectedByte) }
        let name = try string(bytes)
        do throws(JSONError) {
            skipWhitespace(bytes)
            guard try next(bytes) == UInt8(ascii: ":") else { throw error(.unexpectedByte) }
            position += 1
            let value = try value(bytes, depth: depth + 1)
            guard object.insert(name, value) else { throw JSONError(.duplicateKey, at: start) }
        } catch {
            throw error.inside(JSONPointer.component(name))
        }
    }

    private mutating func array(
        _ bytes: Span<UInt8>,
        depth: Int
    ) throws(JSONError) -> [JSON] {
        guard depth < limits.depthMax else { throw error(.depthExceeded) }
        position += 1
        var elements: [JSON] = []
        skipWhitespace(bytes)
        if try next(bytes) == UInt8(ascii: "]") {
            position += 1
            return elements
        }
        while true {
            do throws(JSONError) {
                elements.append(try value(bytes, depth: depth + 1))
            } catch {
                throw error.inside(JSONPointer.component(elements.count))
            }
            skipWhitespace(bytes)
            switch try next(bytes) {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "]"):
                position += 1
                return elements
            default: throw error(.unexpectedByte)
            }
        }
    }
}
