import JSON

/// Whether the body of a post is one that the reference pages of `chat.postMessage` and of the blocks
/// describe: types, required fields, figures.
enum StandInShapes {
    private enum Kind { case string, bool, blocks, metadata, array, timestamp }

    /// The arguments of `chat.postMessage` as its reference page lists them, the token aside, which
    /// goes into the header.
    private static let arguments: [String: Kind] = [
        "as_user": .bool, "attachments": .array, "blocks": .blocks, "channel": .string,
        "current_draft_last_updated_ts": .timestamp, "icon_emoji": .string, "icon_url": .string,
        "link_names": .bool, "markdown_text": .string, "metadata": .metadata, "mrkdwn": .bool,
        "parse": .string, "reply_broadcast": .bool, "text": .string, "thread_ts": .timestamp,
        "unfurl_links": .bool, "unfurl_media": .bool, "username": .string,
    ]

    /// Characters of a text: longer ones are split or cut.
    private static let textMax = 4_000
    private static let blocksMax = 50
    private static let blockIDMax = 255

    /// What is wrong with a body that came as JSON.
    static func violations(in body: [String: JSON]) -> [String] {
        var found: [String] = []
        for (name, value) in body.sorted(by: { $0.key < $1.key }) {
            guard let kind = arguments[name] else {
                found.append("\(name) is no argument of chat.postMessage")
                continue
            }
            found += violations(of: value, kind, name)
        }
        if body["channel"] == nil { found.append("channel is missing") }
        if body["text"] == nil, body["blocks"] == nil, body["attachments"] == nil,
            body["markdown_text"] == nil
        {
            found.append("none of text, blocks, attachments and markdown_text is there")
        }
        let length = body["text"]?.stringValue?.unicodeScalars.count ?? 0
        if length > textMax { found.append("a text of \(length) characters") }
        return found
    }

    private static func violations(of value: JSON, _ kind: Kind, _ name: String) -> [String] {
        let fits =
            switch kind {
            case .string: value.stringValue != nil
            case .bool: value.boolValue != nil
            case .array: value.arrayValue != nil
            case .timestamp: value.stringValue.map(isTimestamp) ?? false
            case .metadata:
                value["event_type"]?.stringValue?.isEmpty == false
                    && value["event_payload"]?.objectValue != nil
                    && value.objectValue?.members.count == 2
            case .blocks: value.arrayValue.map { (1...blocksMax).contains($0.count) } ?? false
            }
        guard fits else { return ["\(name) has not the form of its reference"] }
        return kind == .blocks ? blocks(value.arrayValue ?? []) : []
    }

    /// Seconds and six digits, as `1503435956.000247`.
    private static func isTimestamp(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 2 && !parts[0].isEmpty && parts[1].utf8.count == 6
            && parts.allSatisfy { $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
    }

    // MARK: Blocks

    private static func blocks(_ list: [JSON]) -> [String] {
        var found: [String] = []
        var ids: Set<String> = []
        for (index, block) in list.enumerated() {
            let place = "blocks/\(index)"
            found += StandInShapes.block(block).map { "\(place): \($0)" }
            guard let id = block["block_id"] else { continue }
            guard let text = id.stringValue, (1...blockIDMax).contains(text.utf8.count),
                ids.insert(text).inserted
            else {
                found.append("\(place): block_id is no text of its own")
                continue
            }
        }
        return found
    }

    private static func block(_ block: JSON) -> [String] {
        guard let type = block["type"]?.stringValue else { return ["it has no type"] }
        switch type {
        case "divider": return []
        case "section":
            let fields = block["fields"]
            var found: [String] = []
            if block["text"] == nil, fields == nil { found.append("neither text nor fields") }
            if let text = block["text"] { found += self.text(text, max: 3_000) }
            if let fields { found += elements(fields, max: 10) { self.text($0, max: 2_000) } }
            return found
        case "header": return text(block["text"] ?? .null, max: 150, isPlain: true)
        case "context":
            return elements(block["elements"] ?? .null, max: 10) {
                $0["type"] == "image" ? image($0) : text($0, max: 3_000)
            }
        case "actions": return elements(block["elements"] ?? .null, max: 25, of: typed)
        case "rich_text": return elements(block["elements"] ?? .null, max: 100, of: typed)
        case "image": return image(block)
        case "input":
            return text(block["label"] ?? .null, max: 2_000, isPlain: true)
                + typed(block["element"] ?? .null)
        case "markdown":
            let length = block["text"]?.stringValue?.unicodeScalars.count ?? 0
            return (1...12_000).contains(length) ? [] : ["its text is missing or too long"]
        case "file":
            let isWhole = block["external_id"]?.stringValue != nil && block["source"] == "remote"
            return isWhole ? [] : ["external_id or source is missing"]
        case "video":
            return ["alt_text", "thumbnail_url", "video_url"]
                .filter { block[$0]?.stringValue == nil }.map { "\($0) is missing" }
                + text(block["title"] ?? .null, max: 199, isPlain: true)
        default: return ["\(type) is no type of a block"]
        }
    }

    private static func text(_ value: JSON, max: Int, isPlain: Bool = false) -> [String] {
        let types = isPlain ? ["plain_text"] : ["plain_text", "mrkdwn"]
        guard let type = value["type"]?.stringValue, types.contains(type),
            let length = value["text"]?.stringValue?.unicodeScalars.count
        else { return ["a text is no object of \(types.joined(separator: " or "))"] }
        return (1...max).contains(length) ? [] : ["a text of \(length) characters"]
    }

    private static func image(_ value: JSON) -> [String] {
        let hasSource = value["image_url"]?.stringValue != nil || value["slack_file"] != nil
        return hasSource && value["alt_text"]?.stringValue != nil
            ? [] : ["an image without its source or alt_text"]
    }

    private static func typed(_ value: JSON) -> [String] {
        value["type"]?.stringValue != nil ? [] : ["an element without a type"]
    }

    private static func elements(
        _ list: JSON,
        max: Int,
        of element: (JSON) -> [String]
    ) -> [String] {
        guard let elements = list.arrayValue, (1...max).contains(elements.count) else {
            return ["its elements are not 1 to \(max)"]
        }
        return elements.flatMap(element)
    }
}
