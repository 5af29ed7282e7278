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

    /// A string of a fixed set, or nothing.
    static func choice<Choice: RawRepresentable & CaseIterable>(_ type: Choice.Type) -> JSON
    where Choice.RawValue == String {
        [
            "type": ["string", "null"],
            "enum": .array(type.allCases.map { .string($0.rawValue) } + [.null]),
        ]
    }

    /// The fields that a team and a tenant's policy share.
    static let policyFields: JSONObject = {
        var fields: JSONObject = [
            "strategy": choice(Strategy.self), "on_offline": choice(OnOffline.self),
            "on_first_reply_timeout": choice(OnFirstReplyTimeout.self),
            "no_agent_action": choice(NoAgentAction.self),
            "off_hours_action": choice(OffHoursAction.self), "on_reopen": choice(OnReopen.self),
            "sticky_mode": choice(StickyMode.self), "schedule_id": optionalID,
            "overflow_team_id": optionalID, "claim_on_first_reply": ["type": ["boolean", "null"]],
            "max_new_per_agent": [
                "type": ["object", "null"], "required": ["n", "window_s"],
                "properties": ["n": ["type": "integer"], "window_s": ["type": "integer"]],
            ],
        ]
        for (name, range) in PolicyBody.numbers {
            fields[name] = [
                "type": ["integer", "null"], "minimum": .int(Int64(range.lowerBound)),
                "maximum": .int(Int64(range.upperBound)),
            ]
        }
        return fields
    }()

    static let team: JSON = {
        var fields = policyFields
        fields["name"] = ["type": "string", "minLength": 1, "maxLength": 200]
        return object(fields, required: ["name"])
    }()

    static let tenantPolicy: JSON = {
        var fields = policyFields
        fields["channel_units"] = [
            "type": ["object", "null"],
            "additionalProperties": ["type": "integer", "minimum": 1, "maximum": 100],
        ]
        fields["priority_targets_s"] = [
            "type": ["array", "null"], "minItems": 5, "maxItems": 5,
            "items": ["type": "integer", "minimum": 0, "maximum": 604_800],
            "description": "Seconds after which priorities 0 to 4 are due; rising.",
        ]
        return object(fields)
    }()

    static let member = object([
        "weight": ["type": ["integer", "null"], "minimum": 1, "maximum": 1000],
        "auto_assign": ["type": ["boolean", "null"]],
    ])

    static let status = object(
        ["status": ["type": "string", "enum": ["online", "busy", "away", "offline"]]],
        required: ["status"]
    )

    private static let dueAt: JSON = ["type": ["string", "null"], "format": "date-time"]

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
            "sla_due_at": dueAt,
            "source": ["type": "string", "enum": ["handover"]],
        ],
        required: ["conversation_id", "contact_id", "source"]
    )

    static let outcome = object(
        [
            "session": any,
            "outcome": ["type": "string", "enum": ["assign", "skip", "stop", "error"]],
            "reason": ["type": "string"], "agent_id": optionalID,
            "strategy": ["type": ["string", "null"]], "decision_id": optionalID,
            "retryable": ["type": "boolean"],
        ],
        required: ["session", "outcome", "reason", "agent_id", "strategy", "decision_id"]
    )

    static let close = object([
        "reason": ["type": ["string", "null"], "maxLength": 500]
    ])

    static let drain = object(["team_id": optionalID])

    private static let force: JSON = ["type": ["boolean", "null"]]
    private static let reason: JSON = ["type": ["string", "null"], "maxLength": 500]

    static let again = object([
        "team_id": optionalID, "priority": ["type": ["integer", "null"]],
        "context": ["type": ["object", "null"]], "sla_due_at": dueAt, "reason": reason,
    ])
    static let assignee = object(["agent_id": optionalID, "force": force, "reason": reason])
    static let taking = object(
        ["agent_id": id, "force": force, "reason": reason],
        required: ["agent_id"]
    )
    static let transfer = object([
        "agent_id": optionalID, "team_id": optionalID, "force": force, "reason": reason,
    ])
    static let agentOnly = object(["agent_id": id, "reason": reason], required: ["agent_id"])
    static let forced = object(["force": force, "reason": reason])

    static let schedule = object(
        [
            "name": ["type": "string"], "tz": ["type": "string"],
            "windows": ["type": "array", "items": any],
            "exceptions": ["type": ["array", "null"], "items": any],
        ],
        required: ["name", "tz", "windows"]
    )
    static let owner = object(["agent_id": optionalID])
    static let blocked = object(
        ["agent_ids": ["type": "array", "items": id]],
        required: ["agent_ids"]
    )
    static let rules = object(
        ["rules": ["type": "array", "items": any, "maxItems": 200]],
        required: ["rules"]
    )
    static let rollback = object(
        ["policy_version": ["type": "integer", "minimum": 1]],
        required: ["policy_version"]
    )
    static let replay = object(
        [
            "from": ["type": "string", "format": "date-time"],
            "to": ["type": "string", "format": "date-time"],
            "policy_version": ["type": "integer", "minimum": 1],
            "against": ["type": ["integer", "null"], "minimum": 1],
            "limit": ["type": ["integer", "null"], "minimum": 1, "maximum": 200],
        ],
        required: ["from", "to", "policy_version"]
    )
    static let simulation = object([
        "session_id": optionalID, "session": ["type": ["object", "null"]],
        "at": ["type": ["string", "null"], "format": "date-time"],
        "policy_version": ["type": ["integer", "null"], "minimum": 1],
    ])
    static let events = object(
        [
            "events": [
                "type": "array", "minItems": 1, "maxItems": 1000,
                "items": object(
                    [
                        "id": id, "name": ["type": "string"],
                        "at": ["type": "string", "format": "date-time"],
                        "properties": ["type": ["object", "null"]],
                    ],
                    required: ["id", "name", "at"]
                ),
            ]
        ],
        required: ["events"]
    )

    static let list = object(
        ["items": ["type": "array", "items": any], "next_cursor": ["type": ["string", "null"]]],
        required: ["items", "next_cursor"]
    )
}
