internal import FoundationEssentials

/// How one value is read: pure functions from a value to what it means, or what is wrong with it.
enum JSONRead {
    /// The stand-in of a UUID.
    static let zeroUUID = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))

    static func text(
        _ value: JSON,
        _ length: ClosedRange<Int>,
        _ pattern: TextPattern?
    ) -> JSONReading<String> {
        guard let text = value.stringValue else { return .fault("must be a string") }
        // Counting scalars takes time; most texts are too short for it to matter.
        let isShort = text.utf8.count <= length.upperBound && length.lowerBound <= 1
        guard
            isShort && text.utf8.count >= length.lowerBound
                || length.contains(text.unicodeScalars.count)
        else { return .fault(bounds(length, of: "characters")) }
        guard !text.utf8.contains(0) else { return .fault("must not contain U+0000") }
        if let pattern, !pattern.matches(text) { return .fault(pattern.detail) }
        return .value(text)
    }

    static func int(_ value: JSON, _ range: ClosedRange<Int>) -> JSONReading<Int> {
        guard let integer = value.intValue else {
            return .fault("must be an integer")
        }
        guard let integer = Int(exactly: integer), range.contains(integer) else {
            return .fault("must be between \(range.lowerBound) and \(range.upperBound)")
        }
        return .value(integer)
    }

    static func double(_ value: JSON, _ range: ClosedRange<Double>) -> JSONReading<Double> {
        guard let number = value.doubleValue else { return .fault("must be a number") }
        guard range.contains(number) else {
            return .fault("must be between \(range.lowerBound) and \(range.upperBound)")
        }
        return .value(number)
    }

    static func bool(_ value: JSON) -> JSONReading<Bool> {
        value.boolValue.map { .value($0) } ?? .fault("must be true or false")
    }

    static func uuid(_ value: JSON) -> JSONReading<UUID> {
        value.stringValue.flatMap(UUID.init(text:)).map { .value($0) } ?? .fault("must be a UUID")
    }

    static func date(_ value: JSON) -> JSONReading<Int64> {
        value.stringValue.flatMap(RFC3339.parse).map { .value($0) }
            ?? .fault("must be a time such as 2026-07-01T09:05:00.000Z")
    }

    static func choice<Value: RawRepresentable & CaseIterable & SendableMetatype>(
        _ value: JSON
    ) -> JSONReading<Value> where Value.RawValue == String {
        guard let text = value.stringValue, let choice = Value(rawValue: text) else {
            let choices = Value.allCases.map(\.rawValue).joined(separator: ", ")
            return .fault("must be one of: \(choices)")
        }
        return .value(choice)
    }

    static func any(_ value: JSON) -> JSONReading<JSON> {
        containsNUL(value) ? .fault("must not contain U+0000") : .value(value)
    }

    static func object(_ value: JSON) -> JSONReading<JSONObject> {
        guard case .object(let object) = value else { return .fault("must be an object") }
        return containsNUL(value) ? .fault("must not contain U+0000") : .value(object)
    }

    /// What a text or an array of the wrong size is told.
    static func bounds(_ range: ClosedRange<Int>, of what: String) -> String {
        if range.lowerBound == range.upperBound {
            return "must have exactly \(range.lowerBound) \(what)"
        }
        if range.lowerBound == 0 { return "must have at most \(range.upperBound) \(what)" }
        if range.upperBound == .max { return "must have at least \(range.lowerBound) \(what)" }
        return "must have \(range.lowerBound) to \(range.upperBound) \(what)"
    }

    private static func containsNUL(_ value: JSON) -> Bool {
        switch value {
        case .null, .bool, .int, .double: false
        case .string(let text): text.utf8.contains(0)
        case .array(let elements): elements.contains { containsNUL($0) }
        case .object(let object):
            object.members.contains { $0.key.utf8.contains(0) || containsNUL($0.value) }
        }
    }
}
