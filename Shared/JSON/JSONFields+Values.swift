public import FoundationEssentials

extension JSONFields {
    /// A string of `length` Unicode scalars that `pattern` matches.
    ///
    /// U+0000 is refused everywhere: PostgreSQL cannot store it.
    public mutating func string(
        _ name: String,
        length: ClosedRange<Int> = 1...10_000,
        pattern: TextPattern? = nil
    ) -> String {
        required(name, or: "", as: JSONShape.text(length, pattern)) {
            JSONRead.text($0, length, pattern)
        }
    }

    /// A string as in ``string(_:length:pattern:)``, or nil.
    public mutating func optionalString(
        _ name: String,
        length: ClosedRange<Int> = 0...10_000,
        pattern: TextPattern? = nil
    ) -> String? {
        optional(name, as: JSONShape.text(length, pattern)) { JSONRead.text($0, length, pattern) }
    }

    /// A code: `[a-z0-9][a-z0-9_.-]{0,62}`.
    public mutating func code(_ name: String) -> String {
        string(name, length: 0...Int.max, pattern: .code)
    }

    /// A code, or nil.
    public mutating func optionalCode(_ name: String) -> String? {
        optionalString(name, length: 0...Int.max, pattern: .code)
    }

    /// An integer; `3.0` counts as one.
    public mutating func int(_ name: String, in range: ClosedRange<Int>) -> Int {
        required(name, or: range.lowerBound, as: JSONShape.int(range)) { JSONRead.int($0, range) }
    }

    /// An integer, or nil.
    public mutating func optionalInt(_ name: String, in range: ClosedRange<Int>) -> Int? {
        optional(name, as: JSONShape.int(range)) { JSONRead.int($0, range) }
    }

    /// A number.
    public mutating func double(_ name: String, in range: ClosedRange<Double>) -> Double {
        required(name, or: range.lowerBound, as: JSONShape.double(range)) {
            JSONRead.double($0, range)
        }
    }

    /// A number, or nil.
    public mutating func optionalDouble(_ name: String, in range: ClosedRange<Double>) -> Double? {
        optional(name, as: JSONShape.double(range)) { JSONRead.double($0, range) }
    }

    /// `true` or `false`.
    public mutating func bool(_ name: String) -> Bool {
        required(name, or: false, as: JSONShape.bool, JSONRead.bool)
    }

    /// `true`, `false`, or nil.
    public mutating func optionalBool(_ name: String) -> Bool? {
        optional(name, as: JSONShape.bool, JSONRead.bool)
    }

    /// A UUID in its usual form of 36 characters, of either case.
    public mutating func uuid(_ name: String) -> UUID {
        required(name, or: JSONRead.zeroUUID, as: JSONShape.uuid, JSONRead.uuid)
    }

    /// A UUID, or nil.
    public mutating func optionalUUID(_ name: String) -> UUID? {
        optional(name, as: JSONShape.uuid, JSONRead.uuid)
    }

    /// A time (RFC 3339), in milliseconds since 1970.
    public mutating func date(_ name: String) -> Int64 {
        required(name, or: 0, as: JSONShape.date, JSONRead.date)
    }

    /// A time, or nil.
    public mutating func optionalDate(_ name: String) -> Int64? {
        optional(name, as: JSONShape.date, JSONRead.date)
    }

    /// One of the strings that `Value` is made of.
    public mutating func choice<Value: RawRepresentable & CaseIterable & SendableMetatype>(
        _ name: String,
        of type: Value.Type
    ) -> Value where Value.RawValue == String {
        guard let standIn = type.allCases.first else {
            preconditionFailure("a choice of nothing")
        }
        return required(name, or: standIn, as: JSONShape.choice(of: type), JSONRead.choice)
    }

    /// One of the strings that `Value` is made of, or nil.
    public mutating func optionalChoice<Value: RawRepresentable & CaseIterable & SendableMetatype>(
        _ name: String,
        of type: Value.Type
    ) -> Value? where Value.RawValue == String {
        optional(name, as: JSONShape.choice(of: type), JSONRead.choice)
    }

    /// Any value but `null`, as it is.
    public mutating func json(_ name: String) -> JSON {
        required(name, or: .null, as: JSONShape.any, JSONRead.any)
    }

    /// Any value, or nil.
    public mutating func optionalJSON(_ name: String) -> JSON? {
        optional(name, as: JSONShape.any, JSONRead.any)
    }

    /// An object with members of the sender's choice.
    public mutating func jsonObject(_ name: String) -> JSONObject {
        required(name, or: JSONObject(), as: JSONShape.object, JSONRead.object)
    }

    /// An object with members of the sender's choice, or nil.
    public mutating func optionalJSONObject(_ name: String) -> JSONObject? {
        optional(name, as: JSONShape.object, JSONRead.object)
    }
}
