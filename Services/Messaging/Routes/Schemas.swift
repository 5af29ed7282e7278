internal import JSON

/// Pieces of the published document.
enum Schemas {
    static func object(_ properties: JSONObject, required: [String] = []) -> JSON {
        var schema: JSONObject = [
            "type": "object", "additionalProperties": false, "properties": .object(properties),
        ]
        if !required.isEmpty { schema["required"] = JSON(required) }
        return .object(schema)
    }

    static let uuid: JSON = ["type": "string", "format": "uuid"]
    static let text: JSON = ["type": "string"]
    static let flag: JSON = ["type": "boolean"]
    static let number: JSON = ["type": "integer"]
    static let free: JSON = ["type": "object"]

    static func oneOf(_ values: [String]) -> JSON {
        ["type": "string", "enum": JSON(values)]
    }

    static func reference(_ name: String) -> JSON {
        ["$ref": .string("#/components/schemas/\(name)")]
    }

    static func list(of name: String) -> JSON {
        [
            "type": "object",
            "properties": [
                "items": ["type": "array", "items": reference(name)],
                "next_cursor": ["type": ["string", "null"]],
            ],
        ]
    }

    static let sender = object(
        ["kind": oneOf(["contact", "agent", "bot"]), "id": text],
        required: ["kind", "id"]
    )

    /// What routes refer to by name.
    static let components: JSONObject = [
        "Conversation": free, "Message": free, "Thread": free, "Assignment": free,
        "PostedMessage": [
            "type": "object",
            "properties": [
                "message": reference("Message"), "assignment": reference("Assignment"),
                "bot": free,
            ],
        ],
        "ThreadChange": [
            "type": "object",
            "properties": [
                "thread": reference("Thread"), "moved": number,
                "from": ["type": "array", "items": uuid],
            ],
        ],
        "AIJob": free, "Bot": free, "CoreAI": free, "Platform": free, "Channel": free,
    ]
}
