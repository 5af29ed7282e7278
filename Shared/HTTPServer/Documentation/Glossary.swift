internal import JSON

/// What the fields of a document mean, by their name: said once for every place where they stand.
struct Glossary {
    let meanings: [String: String]

    /// The schema, with a description for each field that has none and whose name is known here.
    func describe(_ schema: JSON) -> JSON {
        switch schema {
        case .array(let elements): return .array(elements.map(describe))
        case .object(let object):
            var described = JSONObject()
            for (name, value) in object.members {
                if name == "properties", case .object(let fields) = value {
                    described[name] = .object(
                        JSONObject(fields.members.map { ($0.key, field($0.key, $0.value)) })
                    )
                } else {
                    described[name] = describe(value)
                }
            }
            return .object(described)
        default: return schema
        }
    }

    private func field(_ name: String, _ schema: JSON) -> JSON {
        guard case .object(var object) = describe(schema) else { return schema }
        if object["description"] == nil, let meaning = meanings[name] {
            object["description"] = .string(meaning)
        }
        return .object(object)
    }
}
