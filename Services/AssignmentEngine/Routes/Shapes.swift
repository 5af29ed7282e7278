internal import HTTPServer
internal import JSON

/// What bodies look like, for the published document.
enum Shapes {
    static let id: JSON = ["type": "string", "format": "uuid"]
    static let optionalID: JSON = ["type": ["string", "null"], "format": "uuid"]
    static let any: JSON = ["type": "object"]

    /// An object with these members.
    static func object(_ properties: JSONObject, required: [String] = []) -> JSON {
        [
            "type": "object", "properties": .object(properties), "additionalProperties": false,
            "required": JSON(required),
        ]
    }

    static let team = object(
        [
            "name": ["type": "string", "minLength": 1, "maxLength": 200],
            "strategy": [
                "type": ["string", "null"],
                "enum": .array(Strategy.allCases.map { .string($0.rawValue) } + [.null]),
            ],
        ],
        required: ["name"]
    )

    static let member = object([
        "weight": ["type": ["integer", "null"], "minimum": 1, "maximum": 1000],
        "auto_assign": ["type": ["boolean", "null"]],
    ])

    static let agent = object(
        [
            "name": ["type": "string", "minLength": 1, "maxLength": 200],
            "capacity_units": ["type": ["integer", "null"], "minimum": 0, "maximum": 1000],
            "presence_mode": [
                "type": ["string", "null"], "enum": ["strict", "manual", "schedule", nil],
            ],
            "skills": [
                "type": ["array", "null"], "maxItems": 100,
                "items": object(
                    [
                        "name": ["type": "string", "minLength": 1, "maxLength": 100],
                        "level": ["type": "integer", "minimum": 1, "maximum": 5],
                    ],
                    required: ["name", "level"]
                ),
            ],
        ],
        required: ["name"]
    )

    static let status = object(
        ["status": ["type": "string", "enum": ["online", "busy", "away", "offline"]]],
        required: ["status"]
    )

    static let handover = object(
        [
            "conversation_id": id,
            "contact_id": ["type": "string", "minLength": 1, "maxLength": 200],
            "team_id": optionalID,
            "priority": [
                "type": ["integer", "null"], "minimum": 0, "maximum": 4,
                "description": "0 is the most urgent.",
            ],
            "context": ["type": ["object", "null"]],
            "source": ["type": "string", "enum": ["handover"]],
        ],
        required: ["conversation_id", "contact_id", "source"]
    )

    static let outcome = object(
        [
            "session": any,
            "outcome": ["type": "string", "enum": ["assign", "skip", "stop", "error"]],
            "reason": ["type": "string"], "agent_id": optionalID, "strategy": ["type": "string"],
            "decision_id": id, "retryable": ["type": "boolean"],
        ],
        required: ["session", "outcome", "reason", "agent_id", "strategy", "decision_id"]
    )

    static let close = object([
        "reason": ["type": ["string", "null"], "maxLength": 500]
    ])

    static let drain = object(["team_id": optionalID])

    static let list = object(
        ["items": ["type": "array", "items": any], "next_cursor": ["type": ["string", "null"]]],
        required: ["items", "next_cursor"]
    )
}
