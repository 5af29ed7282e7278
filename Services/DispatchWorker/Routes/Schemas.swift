internal import JSON

/// Pieces of the published document.
enum Schemas {
    static let text: JSON = ["type": "string"]
    static let code: JSON = ["type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]{0,62}$"]
    static let uuid: JSON = ["type": "string", "format": "uuid"]
    static let time: JSON = ["type": "string", "format": "date-time"]
    static let free: JSON = ["type": "object"]
    static let count: JSON = ["type": "integer", "minimum": 0]

    static func object(_ properties: JSONObject, required: [String] = []) -> JSON {
        var schema: JSONObject = [
            "type": "object", "additionalProperties": false, "properties": .object(properties),
        ]
        if !required.isEmpty { schema["required"] = JSON(required) }
        return .object(schema)
    }

    static func integer(_ range: ClosedRange<Int64>) -> JSON {
        ["type": "integer", "minimum": .int(range.lowerBound), "maximum": .int(range.upperBound)]
    }

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

    /// What the references name.
    static let named: JSONObject = [
        "MessageRequest": [
            "type": "object",
            "description": "A message request and where it stands.",
            "required": ["id", "status", "generation", "channel_code", "priority"],
            "properties": [
                "id": uuid, "status": oneOf(MessageRequestStatus.allCases.map(\.rawValue)),
                "generation": ["type": "integer"], "channel_code": code,
                "priority": integer(0...4), "provider_ts": ["type": ["string", "null"]],
                "attempts": ["type": "array", "items": free],
            ],
        ],
        "Workspace": ["type": "object", "required": ["code", "provider"]],
        "Channel": ["type": "object", "required": ["code", "workspace_code"]],
        "Template": [
            "type": "object", "required": ["code", "version", "variables"],
            "properties": [
                "code": code, "version": ["type": "integer"],
                "variables": ["type": "array", "items": text],
            ],
        ],
        "Preview": ["type": "object", "required": ["code", "version"]],
        "Pause": [
            "type": "object", "required": ["id", "scope", "reason", "author", "created_at"],
            "properties": ["id": uuid, "scope": free, "reason": text, "author": text],
        ],
        "Queue": ["type": "object", "required": ["tenant", "waiting", "delayed", "active"]],
        "Worker": ["type": "object", "required": ["id", "state", "heartbeat_age_ms"]],
        "Cause": ["type": "object", "required": ["status", "error", "count"]],
        "ReplayPreview": [
            "type": "object", "required": ["dry_run", "count", "per_call", "causes"],
            "properties": [
                "dry_run": ["const": true], "count": count, "per_call": count,
                "causes": ["type": "array", "items": reference("Cause")],
            ],
        ],
        "Replay": [
            "type": "object", "required": ["replayed", "last_at", "more"],
            "properties": [
                "replayed": count, "last_at": ["type": ["string", "null"]],
                "more": ["type": "boolean"],
            ],
        ],
        "Cancellation": [
            "type": "object", "required": ["cancelled", "requested", "too_late", "more"],
            "properties": [
                "cancelled": count, "requested": count, "too_late": count,
                "more": ["type": "boolean"],
            ],
        ],
        "Webhook": ["type": "object", "required": ["code", "url", "events"]],
        "Policy": ["type": "object", "required": ["retention_days"]],
        "LocalDelivery": [
            "type": "object", "required": ["ts", "message_request_id", "repeats"],
            "properties": [
                "ts": text, "message_request_id": uuid, "repeats": ["type": "integer"],
            ],
        ],
    ]
}

/// The states of a message request.
enum MessageRequestStatus: String, Sendable, CaseIterable {
    case accepted, dispatched, sending, sent
    case retryWait = "retry_wait"
    case unknown, failed, cancelled, expired
}
