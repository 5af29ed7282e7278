internal import FoundationEssentials
internal import JSON

/// The body of `POST /v1/message-requests`, checked against Slack's limits.
struct MessageRequestBody: Sendable {
    /// The longest text of any provider; Slack's own limit is ``SlackLimits/textMax``.
    static let textMax = 40_000

    /// The id that a service chose.
    let id: UUID?
    /// The members as `dispatch.accept` reads them.
    var document: JSONObject
    /// The template that makes text and blocks, with its values.
    let template: (code: String, values: JSONObject)?

    static let schema = Schemas.object(
        [
            "id": Schemas.uuid, "channel_code": Schemas.code,
            "text": ["type": "string", "minLength": 1, "maxLength": 40_000],
            "blocks": ["type": "array", "minItems": 1, "maxItems": 50, "items": Schemas.free],
            "template_code": Schemas.code, "variables": Schemas.free,
            "thread_ts": Schemas.text, "thread_key": Schemas.text,
            "on_root_failed": Schemas.oneOf(["post_new", "fail"]),
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
        let template = content(&fields, into: &document)
        document["thread_ts"] = JSON(
            fields.optionalString("thread_ts", length: 3...40, pattern: threadTS)
        )
        document["thread_key"] = JSON(fields.optionalString("thread_key", length: 1...255))
        let onRootFailed = fields.optionalChoice("on_root_failed", of: OnRootFailed.self)
        document["on_root_failed"] = JSON(onRootFailed?.rawValue)
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
        return MessageRequestBody(id: id, document: JSONObject(present), template: template)
    }

    /// What a message does whose thread lost its root.
    enum OnRootFailed: String, Sendable, CaseIterable {
        /// It becomes the root.
        case postNew = "post_new"
        case fail
    }

    /// Text, blocks or a template.
    private static func content(
        _ fields: inout JSONFields,
        into document: inout JSONObject
    ) -> (code: String, values: JSONObject)? {
        let text = fields.optionalString("text", length: 1...textMax)
        let blocks = fields.optionalJSON("blocks")
        if let blocks, blocks.arrayValue == nil { fields.fault("blocks", "must be an array") }
        let code = fields.optionalCode("template_code")
        let values = fields.optionalJSONObject("variables")
        let hasOwn = fields.has("text") || fields.has("blocks")
        if hasOwn && fields.has("template_code") {
            fields.fault("template_code", "takes neither text nor blocks beside it")
        } else if !hasOwn && !fields.has("template_code") {
            fields.fault("text", "is needed unless there are blocks or a template")
        }
        if values != nil, !fields.has("template_code") {
            fields.fault("variables", "belong to a template")
        }
        document["text"] = JSON(text)
        if let blocks { document["blocks"] = blocks }
        return code.map { ($0, values ?? [:]) }
    }

    /// Slack's id of a message: seconds, a point, six digits.
    static let threadTS = TextPattern(
        "must look like 1700000000.000100",
        expression: #"^[0-9]+\.[0-9]{6}$"#
    ) { text in
        let parts = text.utf8.split(separator: 0x2e, omittingEmptySubsequences: false)
        return parts.count == 2 && !parts[0].isEmpty && parts[1].count == 6
            && parts.allSatisfy { $0.allSatisfy { (0x30...0x39).contains($0) } }
    }
}
