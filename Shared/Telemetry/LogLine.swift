internal import JSON
internal import Logging

/// One log entry on its way to becoming a line of JSON.
struct LogLine {
    /// The line so far; complete after ``end()``.
    private(set) var bytes: [UInt8] = []
    private var isTruncated = false

    /// What every line keeps room for: the note that a member is missing.
    private static let note = Array(#","truncated":true"#.utf8)

    /// A line that begins with these members; `service` and `label` are JSON strings already.
    init(time: Int64, level: Logger.Level, service: [UInt8], label: [UInt8], message: String) {
        bytes.reserveCapacity(512)
        bytes.append(contentsOf: #"{"time":""#.utf8)
        bytes.append(contentsOf: RFC3339.string(time).utf8)
        bytes.append(contentsOf: #"","level":""#.utf8)
        bytes.append(contentsOf: level.rawValue.utf8)
        bytes.append(contentsOf: #"","service":"#.utf8)
        bytes.append(contentsOf: service)
        bytes.append(contentsOf: #","logger":"#.utf8)
        bytes.append(contentsOf: label)
        bytes.append(contentsOf: #","message":"#.utf8)
        LogText.append(message, bytesMax: JSONLogHandler.messageBytesMax, to: &bytes)
    }

    /// Adds a member of ``LogKeys``; false when its value is of a kind that is not shown.
    ///
    /// Left out, and noted at the end, when the line would become too long.
    mutating func add(_ key: String, _ value: Logger.MetadataValue) -> Bool {
        let start = bytes.count
        bytes.append(contentsOf: #",""#.utf8)
        bytes.append(contentsOf: key.utf8)
        bytes.append(contentsOf: #"":"#.utf8)
        let isShown = append(value)
        let isTooLong = bytes.count + LogLine.note.count >= JSONLogHandler.lineBytesMax
        if isTooLong { isTruncated = true }
        if !isShown || isTooLong { bytes.removeLast(bytes.count - start) }
        return isShown
    }

    /// Completes the line.
    mutating func end() {
        if isTruncated { bytes.append(contentsOf: LogLine.note) }
        bytes.append(UInt8(ascii: "}"))
    }

    /// Writes numbers as such, everything else as text, lists of that; false for objects, whose
    /// names no list of allowed ones has seen.
    private mutating func append(_ value: Logger.MetadataValue) -> Bool {
        switch value {
        case .string(let text): append(text)
        case .stringConvertible(let value): append(value)
        case .dictionary: return false
        case .array(let elements): return append(elements)
        }
        return true
    }

    private mutating func append(_ text: String) {
        LogText.append(text, bytesMax: JSONLogHandler.valueBytesMax, to: &bytes)
    }

    private mutating func append(_ value: any CustomStringConvertible) {
        switch value {
        case is Int, is Int64, is Int32, is Bool: bytes.append(contentsOf: value.description.utf8)
        case let value as Double: bytes.append(contentsOf: JSON(value).serialized())
        default: append(value.description)
        }
    }

    /// A list is one value: it keeps to a value's size, whole elements at a time.
    private mutating func append(_ elements: [Logger.MetadataValue]) -> Bool {
        let start = bytes.count
        bytes.append(UInt8(ascii: "["))
        for (index, element) in elements.enumerated() {
            let before = bytes.count
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            guard append(element) else { return false }
            if bytes.count - start >= JSONLogHandler.valueBytesMax {
                bytes.removeLast(bytes.count - before)
                break
            }
        }
        bytes.append(UInt8(ascii: "]"))
        return true
    }
}
