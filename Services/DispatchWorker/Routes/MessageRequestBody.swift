internal import FoundationEssentials
internal import JSON

/// The body of `POST /v1/message-requests`, checked against Slack's limits.
struct MessageRequestBody: Sendable {
    /// The longest text that Slack takes.
    static let textLength = 1...40_000
    /// The most blocks that Slack takes.
    static let blocksCount = 1...50

    /// The id that a service chose.
    let id: UUID?
    /// The members as `dispatch.accept` reads them.
    let document: JSON

    static let schema = Schemas.object(
        [
            "id": Schemas.uuid, "channel_code": Schemas.code,
            "text": ["type": "string", "minLength": 1, "maxLength": 40_000],
            "blocks": ["type": "array", "minItems": 1, "maxItems": 50, "items": Schemas.free],
            "thread_ts": Schemas.text, "thread_key": Schemas.text,
            "priority": Schemas.integer(0...4), "send_at": Schemas.time,
            "deadline_at": Schemas.time, "max_attempts": Schemas.integer(1...50),
            "cancellation_key": Schemas.text, "metadata": Schemas.free,
        ],
        required: ["channel_code"]
    )

    /// Reads the members; faults are noted in `fields`.
    static func read(_ fields: inout JSONFields, isService: Bool) -> MessageRequestBody {
        let id = isService ? fields.optionalUUID("id") : nil
        var document: JSONObject = ["channel_code": .string(fields.code("channel_code"))]
        let text = fields.optionalString("text", length: textLength)
        let blocks = blocks(&fields)
        if text == nil, blocks == nil, !fields.has("text"), !fields.has("blocks") {
            fields.fault("text", "is needed unless there are blocks")
        }
        document["text"] = JSON(text)
        if let blocks { document["blocks"] = .array(blocks) }
        document["thread_ts"] = JSON(
            fields.optionalString("thread_ts", length: 3...40, pattern: threadTS)
        )
        document["thread_key"] = JSON(fields.optionalString("thread_key", length: 1...255))
        document["priority"] = JSON(fields.optionalInt("priority", in: 0...4))
        document["max_attempts"] = JSON(fields.optionalInt("max_attempts", in: 1...50))
        document["cancellation_key"] = JSON(
            fields.optionalString("cancellation_key", length: 1...255)
        )
        if let metadata = fields.optionalJSONObject("metadata") {
            document["metadata"] = .object(metadata)
        }
        let sendAt = fields.optionalDate("send_at")
        let deadline = fields.optionalDate("deadline_at")
        if let sendAt, let deadline, deadline <= sendAt {
            fields.fault("deadline_at", "must be later than send_at")
        }
        document["send_at"] = JSON(sendAt.map(RFC3339.string))
        document["deadline_at"] = JSON(deadline.map(RFC3339.string))
        let present = document.members.filter { !$0.value.isNull }.map { ($0.key, $0.value) }
        return MessageRequestBody(id: id, document: .object(JSONObject(present)))
    }

    private static func blocks(_ fields: inout JSONFields) -> [JSON]? {
        guard let value = fields.optionalJSON("blocks") else { return nil }
        guard let blocks = value.arrayValue, blocksCount.contains(blocks.count),
            blocks.allSatisfy({ $0.objectValue != nil })
        else {
            fields.fault("blocks", "must be an array of 1 to 50 objects")
            return nil
        }
        return blocks
    }

    /// Slack's id of a message: seconds, a point, six digits.
    static let threadTS = TextPattern("must look like 1700000000.000100") { text in
        let parts = text.utf8.split(separator: 0x2e, omittingEmptySubsequences: false)
        return parts.count == 2 && !parts[0].isEmpty && parts[1].count == 6
            && parts.allSatisfy { $0.allSatisfy { (0x30...0x39).contains($0) } }
    }
}
