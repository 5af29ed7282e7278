public import struct FoundationEssentials.UUID

/// A parameter of a statement.
///
/// All go out in text form without a type, and the server infers the type from the statement: the
/// same prepared statement serves a value and a null. Where it cannot infer, cast in SQL
/// (`$1::uuid[]`).
public enum PostgresValue: Sendable, Hashable {
    /// NULL.
    case null
    /// Text; may not hold a NUL character, which PostgreSQL cannot store.
    case string(String)
    /// Text as UTF-8, for bytes that a JSON writer made.
    case utf8([UInt8])
    /// A whole number.
    case int(Int64)
    /// A truth value.
    case bool(Bool)
    /// A floating-point number, NaN and infinities included.
    case double(Double)
    /// A UUID.
    case uuid(UUID)
    /// A `bytea`.
    case bytes([UInt8])
    /// A `json` or `jsonb` as text.
    case json(String)
    /// A `timestamptz` in milliseconds since 1970.
    case time(milliseconds: Int64)
    /// A `text[]`.
    case strings([String])
    /// A `bigint[]`.
    case ints([Int64])
    /// A `uuid[]`.
    case uuids([UUID])
    /// An array of scalars and nulls (`jsonb[]`, `timestamptz[]`, …); no arrays inside.
    case array([PostgresValue])
}

extension PostgresValue {
    /// A whole number.
    public static func int(_ value: Int) -> PostgresValue { .int(Int64(value)) }

    /// Text, or NULL for nil.
    public init(_ value: String?) { self = value.map { .string($0) } ?? .null }
    /// A whole number, or NULL for nil.
    public init(_ value: Int?) { self = value.map { .int(Int64($0)) } ?? .null }
    /// A whole number, or NULL for nil.
    public init(_ value: Int64?) { self = value.map { .int($0) } ?? .null }
    /// A truth value, or NULL for nil.
    public init(_ value: Bool?) { self = value.map { .bool($0) } ?? .null }
    /// A floating-point number, or NULL for nil.
    public init(_ value: Double?) { self = value.map { .double($0) } ?? .null }
    /// A UUID, or NULL for nil.
    public init(_ value: UUID?) { self = value.map { .uuid($0) } ?? .null }
}

extension PostgresValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByFloatLiteral, ExpressibleByNilLiteral
{
    /// Text.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A whole number.
    public init(integerLiteral value: Int64) { self = .int(value) }
    /// A truth value.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// A floating-point number.
    public init(floatLiteral value: Double) { self = .double(value) }
    /// NULL.
    public init(nilLiteral: ()) { self = .null }
}
