/// What a request's object may hold, noted down while its reader names its members.
struct JSONShape: Sendable {
    private var properties = JSONObject()
    private var required: [JSON] = []

    mutating func add(_ name: String, _ schema: JSON, isRequired: Bool) {
        properties[name] = isRequired ? schema : JSONShape.orNull(schema)
        if isRequired { required.append(.string(name)) }
    }

    /// As JSON Schema (2020-12).
    var schema: JSON {
        var schema: JSONObject = [
            "type": "object", "additionalProperties": false, "properties": .object(properties),
        ]
        if !required.isEmpty { schema["required"] = .array(required) }
        return .object(schema)
    }

    /// A member that may be absent may be `null`, too.
    private static func orNull(_ schema: JSON) -> JSON {
        guard var object = schema.objectValue, let type = object["type"] else { return schema }
        object["type"] = [type, "null"]
        if let values = object["enum"]?.arrayValue { object["enum"] = .array(values + [.null]) }
        return .object(object)
    }
}

/// The schemas of single values: each says what the function of ``JSONRead`` beside it takes.
extension JSONShape {
    static let bool: JSON = ["type": "boolean"]
    static let uuid: JSON = ["type": "string", "format": "uuid"]
    static let date: JSON = ["type": "string", "format": "date-time"]
    static let object: JSON = ["type": "object"]
    static let any: JSON = [:]

    static func text(_ length: ClosedRange<Int>, _ pattern: TextPattern?) -> JSON {
        var schema: JSONObject = ["type": "string"]
        if length.lowerBound > 0 { schema["minLength"] = JSON(length.lowerBound) }
        if length.upperBound < .max { schema["maxLength"] = JSON(length.upperBound) }
        if let expression = pattern?.expression { schema["pattern"] = .string(expression) }
        return .object(schema)
    }

    static func int(_ range: ClosedRange<Int>) -> JSON {
        var schema: JSONObject = ["type": "integer"]
        if range.lowerBound > .min { schema["minimum"] = JSON(range.lowerBound) }
        if range.upperBound < .max { schema["maximum"] = JSON(range.upperBound) }
        return .object(schema)
    }

    static func double(_ range: ClosedRange<Double>) -> JSON {
        var schema: JSONObject = ["type": "number"]
        if range.lowerBound.isFinite { schema["minimum"] = .double(range.lowerBound) }
        if range.upperBound.isFinite { schema["maximum"] = .double(range.upperBound) }
        return .object(schema)
    }

    static func choice<Value: RawRepresentable & CaseIterable>(
        of type: Value.Type
    ) -> JSON where Value.RawValue == String {
        ["type": "string", "enum": JSON(type.allCases.map(\.rawValue))]
    }

    static func array(_ count: ClosedRange<Int>, of element: JSON) -> JSON {
        var schema: JSONObject = ["type": "array", "items": element]
        if count.lowerBound > 0 { schema["minItems"] = JSON(count.lowerBound) }
        if count.upperBound < .max { schema["maxItems"] = JSON(count.upperBound) }
        return .object(schema)
    }
}
