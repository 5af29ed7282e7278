internal import Domain
internal import JSON

/// What conversations, messages, threads and assignments look like.
extension Schemas {
    static let conversation: JSON = [
        "type": "object",
        "properties": [
            "id": uuid, "channel_code": text, "external_id": orNull("string"),
            "title": orNull("string"),
            "contact": [
                "type": "object",
                "properties": ["id": uuid, "external_id": text, "name": orNull("string")],
            ],
            "state": oneOf(["open", "closed"]), "owner_kind": text,
            "assignee_id": orNull("string"), "session_id": orNull("string"),
            "bot_id": orNull("string"), "last_seq": number, "version": number,
            "created_at": time, "updated_at": time, "closed_at": orNull("string"),
        ],
    ]

    static let message: JSON = [
        "type": "object",
        "properties": [
            "id": uuid, "seq": number, "conversation_id": uuid, "thread_id": orNull("string"),
            "thread_state": oneOf(["assigned", "deferred", "pending"]),
            "method": orNull("string"), "direction": oneOf(["in", "out"]), "sender": sender,
            "text": text, "attachments": ["type": "array", "items": free],
            "external_id": orNull("string"), "reply_to": orNull("string"), "stale": flag,
            "ai_job_id": orNull("string"), "created_at": time, "edited_at": orNull("string"),
            "delivery": orNull("object"),
        ],
    ]

    static let thread: JSON = [
        "type": "object",
        "properties": [
            "id": uuid, "conversation_id": uuid, "title": text, "manual": flag,
            "archived": flag, "merged_into": orNull("string"), "message_count": number,
            "last_message_at": time, "created_at": time, "updated_at": time,
        ],
    ]

    static let assignment: JSON = [
        "type": "object",
        "properties": [
            "success": flag, "already_assigned": flag, "thread_id": uuid, "created_thread": flag,
            "method": oneOf(AssignmentMethod.allCases.map(\.rawValue)),
            "score": ["type": "number", "minimum": 0, "maximum": 1],
            "algorithm": orNull("string"),
            "explanation": [
                "type": ["object", "null"],
                "properties": [
                    "words": part, "mentions": part, "recency": part, "turn": part,
                    "nearest": [
                        "type": "object",
                        "properties": ["thread_id": uuid, "score": part],
                    ],
                ],
            ],
        ],
        "required": ["success", "already_assigned", "thread_id", "created_thread"],
    ]

    private static let part: JSON = ["type": "number", "minimum": 0, "maximum": 1]

    private static let time: JSON = ["type": "string", "format": "date-time"]

    private static func orNull(_ type: String) -> JSON { ["type": [.string(type), "null"]] }
}
