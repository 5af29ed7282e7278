internal import HTTPServer
internal import JSON

/// What Slack takes of a message, checked when it is accepted, with a pointer to each fault.
///
/// Figures of `chat.postMessage` and of the block reference; the total is what was measured to pass.
enum SlackLimits {
    /// Longer texts are split or cut by Slack, which looks like duplicates.
    static let textMax = 4_000
    /// Blocks of a message.
    static let blocksMax = 50
    /// Characters of a section's text, and of one of its fields.
    static let sectionMax = 3_000
    static let fieldMax = 2_000
    static let fieldsMax = 10
    /// Characters of a header.
    static let headerMax = 150
    /// Elements of a context, and of a row of actions.
    static let contextMax = 10
    static let actionsMax = 25
    /// Characters of all texts in the blocks together.
    static let totalMax = 9_000

    /// What is wrong with `blocks`; empty when Slack takes them.
    static func faults(blocks: JSON) -> [Problem.Fault] {
        guard let list = blocks.arrayValue, (1...blocksMax).contains(list.count) else {
            return [fault("/blocks", "must be an array of 1 to \(blocksMax) blocks")]
        }
        var faults: [Problem.Fault] = []
        for (index, block) in list.enumerated() {
            faults += SlackLimits.faults(block: block, at: "/blocks/\(index)")
        }
        let total = list.reduce(0) { $0 + characters(in: $1) }
        if total > totalMax {
            faults.append(
                fault("/blocks", "hold \(total) characters of text; \(totalMax) are allowed")
            )
        }
        return faults
    }

    private static func faults(block: JSON, at place: String) -> [Problem.Fault] {
        guard block.objectValue != nil else { return [fault(place, "must be an object")] }
        guard let type = block["type"]?.stringValue, !type.isEmpty else {
            return [fault("\(place)/type", "is required")]
        }
        switch type {
        case "section":
            var faults = tooLong(block["text"], sectionMax, "\(place)/text/text")
            faults += tooMany(block["fields"], fieldsMax, "\(place)/fields")
            for (index, field) in (block["fields"]?.arrayValue ?? []).enumerated() {
                faults += tooLong(field, fieldMax, "\(place)/fields/\(index)/text")
            }
            if block["text"]?.present == nil, block["fields"]?.present == nil {
                faults.append(fault("\(place)/text", "is needed unless there are fields"))
            }
            return faults
        case "header":
            guard block["text"]?["text"]?.stringValue != nil else {
                return [fault("\(place)/text", "is required")]
            }
            return tooLong(block["text"], headerMax, "\(place)/text/text")
        case "context": return tooMany(block["elements"], contextMax, "\(place)/elements")
        case "actions": return tooMany(block["elements"], actionsMax, "\(place)/elements")
        default: return []
        }
    }

    private static func tooLong(_ text: JSON?, _ max: Int, _ place: String) -> [Problem.Fault] {
        guard let length = text?["text"]?.stringValue?.unicodeScalars.count, length > max else {
            return []
        }
        return [fault(place, "has \(length) characters; \(max) are allowed")]
    }

    private static func tooMany(_ list: JSON?, _ max: Int, _ place: String) -> [Problem.Fault] {
        guard let count = list?.arrayValue?.count, count > max else { return [] }
        return [fault(place, "has \(count) elements; \(max) are allowed")]
    }

    /// Characters of every `text` that is a string, however deep.
    private static func characters(in value: JSON) -> Int {
        switch value {
        case .array(let elements): elements.reduce(0) { $0 + characters(in: $1) }
        case .object(let object):
            object.members.reduce(0) { sum, member in
                if member.key == "text", let text = member.value.stringValue {
                    return sum + text.unicodeScalars.count
                }
                return sum + characters(in: member.value)
            }
        case .null, .bool, .int, .double, .string: 0
        }
    }

    private static func fault(_ pointer: String, _ detail: String) -> Problem.Fault {
        Problem.Fault(pointer: pointer, detail: detail)
    }
}
