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
        "Conversation": conversation, "Message": message, "Thread": thread,
        "Assignment": assignment,
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
        "AIJob": [
            "type": "object",
            "properties": [
                "id": uuid, "conversation_id": uuid,
                "status": oneOf([
                    "pending", "processing", "completed", "failed", "cancelled", "superseded",
                    "expired",
                ]),
                "consolidated_messages": number, "attempts": number,
                "progress": ["type": "number"], "result": ["type": ["object", "null"]],
                "error": ["type": ["string", "null"]],
            ],
        ],
        "Handled": [
            "type": "object",
            "properties": [
                "success": flag,
                "status": oneOf(["ai_processing_started", "locked", "bot_inactive", "human"]),
                "action": oneOf([
                    "lock_acquired", "lock_exists", "handover_requested", "none",
                ]),
                "ai_job_id": uuid, "lock_id": uuid, "consolidated_messages": number,
                "bot_name": text, "message": text, "buffered": flag, "pending_count": number,
                "config_source": oneOf(["last_good", "default"]),
            ],
            "required": ["success", "status", "action"],
        ],
        "Lock": [
            "type": "object",
            "properties": [
                "locked": flag, "lock_id": text, "holder": ["type": ["string", "null"]],
                "age_ms": number, "ttl_ms": ["type": ["integer", "null"]],
                "ai_job_id": ["type": ["string", "null"]], "pending_count": number,
            ],
            "required": ["locked"],
        ],
        "Bot": free, "CoreAI": free, "Platform": free, "Channel": free,
    ]
}
