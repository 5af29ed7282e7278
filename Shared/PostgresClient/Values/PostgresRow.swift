public import struct FoundationEssentials.UUID

/// One row of a result; values are decoded when asked for, by the column's name.
///
/// Every accessor throws ``PostgresError`` with code `decoding` when there is no such column, when
/// the value is NULL (the `optional` ones return nil), or when it is not of the kind asked for.
public struct PostgresRow: Sendable {
    let storage: PostgresRows.Storage
    let index: Int

    /// Whether the value is NULL.
    public func isNull(_ name: String) throws(PostgresError) -> Bool {
        try span(name).length < 0
    }

    /// Text, or any value as the server writes it.
    public func string(_ name: String) throws(PostgresError) -> String {
        String(decoding: try value(name), as: UTF8.self)
    }

    /// Text as UTF-8.
    public func utf8(_ name: String) throws(PostgresError) -> [UInt8] {
        Array(try value(name))
    }

    /// A `json` or `jsonb` as text.
    public func json(_ name: String) throws(PostgresError) -> String { try string(name) }

    /// A whole number.
    public func int(_ name: String) throws(PostgresError) -> Int {
        try decode(name, "a whole number") { PostgresText.integer($0).flatMap(Int.init(exactly:)) }
    }

    /// A whole number.
    public func int64(_ name: String) throws(PostgresError) -> Int64 {
        try decode(name, "a whole number", PostgresText.integer)
    }

    /// A truth value.
    public func bool(_ name: String) throws(PostgresError) -> Bool {
        try decode(name, "a truth value") { bytes in
            guard bytes.count == 1 else { return nil }
            switch bytes.first {
            case UInt8(ascii: "t"): return true
            case UInt8(ascii: "f"): return false
            default: return nil
            }
        }
    }

    /// A number of any kind.
    public func double(_ name: String) throws(PostgresError) -> Double {
        try decode(name, "a number") { Double(String(decoding: $0, as: UTF8.self)) }
    }

    /// A UUID.
    public func uuid(_ name: String) throws(PostgresError) -> UUID {
        try decode(name, "a UUID", PostgresText.uuid)
    }

    /// A `bytea`.
    public func bytes(_ name: String) throws(PostgresError) -> [UInt8] {
        try decode(name, "a bytea", PostgresText.bytea)
    }

    /// A `timestamptz` in milliseconds since 1970, rounded down.
    public func timeMilliseconds(_ name: String) throws(PostgresError) -> Int64 {
        try decode(name, "a timestamptz") { PostgresTime.milliseconds($0) }
    }

    /// A `text[]` without nulls.
    public func strings(_ name: String) throws(PostgresError) -> [String] {
        try elements(name, "an array of texts") { String(decoding: $0, as: UTF8.self) }
    }

    /// A `bigint[]` without nulls.
    public func ints(_ name: String) throws(PostgresError) -> [Int64] {
        try elements(name, "an array of whole numbers") { PostgresText.integer($0[...]) }
    }

    /// A `uuid[]` without nulls.
    public func uuids(_ name: String) throws(PostgresError) -> [UUID] {
        try elements(name, "an array of UUIDs") { PostgresText.uuid($0[...]) }
    }

    // MARK: Reading

    private func span(_ name: String) throws(PostgresError) -> PostgresRows.Span {
        guard let column = storage.columns.index(of: name) else {
            throw PostgresError(.decoding, "row", "there is no column \(name)")
        }
        return storage.spans[index * storage.columns.names.count + column]
    }

    private func value(_ name: String) throws(PostgresError) -> ArraySlice<UInt8> {
        let span = try span(name)
        guard span.length >= 0 else {
            throw PostgresError(.decoding, "row", "the column \(name) is NULL")
        }
        return storage.bytes[Int(span.start)..<Int(span.start + span.length)]
    }

    private func decode<Value>(
        _ name: String,
        _ kind: String,
        _ parse: (ArraySlice<UInt8>) -> Value?
    ) throws(PostgresError) -> Value {
        guard let value = parse(try value(name)) else {
            // The value itself may be private; the column says enough.
            throw PostgresError(.decoding, "row", "the column \(name) is not \(kind)")
        }
        return value
    }

    private func elements<Value>(
        _ name: String,
        _ kind: String,
        _ parse: ([UInt8]) -> Value?
    ) throws(PostgresError) -> [Value] {
        try decode(name, kind) { bytes in
            guard let elements = PostgresText.array(bytes) else { return nil }
            var values: [Value] = []
            values.reserveCapacity(elements.count)
            for element in elements {
                guard let element, let value = parse(element) else { return nil }
                values.append(value)
            }
            return values
        }
    }
}

extension PostgresRow {
    /// Text, or nil for NULL.
    public func optionalString(_ name: String) throws(PostgresError) -> String? {
        try isNull(name) ? nil : try string(name)
    }

    /// Text as UTF-8, or nil for NULL.
    public func optionalUTF8(_ name: String) throws(PostgresError) -> [UInt8]? {
        try isNull(name) ? nil : try utf8(name)
    }

    /// A `json` or `jsonb` as text, or nil for NULL.
    public func optionalJSON(_ name: String) throws(PostgresError) -> String? {
        try isNull(name) ? nil : try json(name)
    }

    /// A whole number, or nil for NULL.
    public func optionalInt(_ name: String) throws(PostgresError) -> Int? {
        try isNull(name) ? nil : try int(name)
    }

    /// A whole number, or nil for NULL.
    public func optionalInt64(_ name: String) throws(PostgresError) -> Int64? {
        try isNull(name) ? nil : try int64(name)
    }

    /// A truth value, or nil for NULL.
    public func optionalBool(_ name: String) throws(PostgresError) -> Bool? {
        try isNull(name) ? nil : try bool(name)
    }

    /// A number of any kind, or nil for NULL.
    public func optionalDouble(_ name: String) throws(PostgresError) -> Double? {
        try isNull(name) ? nil : try double(name)
    }

    /// A UUID, or nil for NULL.
    public func optionalUUID(_ name: String) throws(PostgresError) -> UUID? {
        try isNull(name) ? nil : try uuid(name)
    }

    /// A `bytea`, or nil for NULL.
    public func optionalBytes(_ name: String) throws(PostgresError) -> [UInt8]? {
        try isNull(name) ? nil : try bytes(name)
    }

    /// A `timestamptz` in milliseconds since 1970, or nil for NULL.
    public func optionalTimeMilliseconds(_ name: String) throws(PostgresError) -> Int64? {
        try isNull(name) ? nil : try timeMilliseconds(name)
    }
}
