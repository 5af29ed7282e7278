internal import HTTPServer
internal import JSON

/// A message with places for values: `{{name}}` in its text, or in any string of its blocks.
///
/// Pure. Strict: every place needs a value and every value a place. A value cannot become markup:
/// `&`, `<` and `>` in it are written as Slack asks.
struct Template: Sendable, Hashable {
    /// The most places of one template.
    static let variablesMax = 100
    /// The longest value, in characters.
    static let valueMax = 4_000

    /// A piece of a string.
    private enum Piece: Hashable {
        case text(Substring)
        case variable(String)
    }

    /// A template that cannot be read.
    struct Malformed: Error, Hashable {
        let pointer: String
        let detail: String
    }

    let text: String?
    let blocks: JSON?
    /// The names of its places, sorted.
    let variables: [String]

    /// Reads a template.
    init(text: String?, blocks: JSON?) throws(Malformed) {
        var names: Set<String> = []
        if let text { names.formUnion(try Template.names(in: text, at: "/text")) }
        if let blocks { names.formUnion(try Template.names(in: blocks, at: "/blocks")) }
        guard names.count <= Template.variablesMax else {
            throw Malformed(
                pointer: "",
                detail: "has \(names.count) variables; \(Template.variablesMax) are allowed"
            )
        }
        self.text = text
        self.blocks = blocks
        variables = names.sorted()
    }

    /// What a template says with these values.
    struct Rendering: Sendable, Hashable {
        let text: String?
        let blocks: JSON?
    }

    /// The message, or what is wrong with the values.
    func render(_ values: JSONObject) -> Result<Rendering, InvalidValues> {
        var faults: [Problem.Fault] = []
        var texts: [String: String] = [:]
        for name in variables {
            guard let value = values[name]?.present else {
                faults.append(Template.fault(name, "is required by the template"))
                continue
            }
            guard let text = Template.text(of: value) else {
                faults.append(Template.fault(name, "must be a string, a number or a truth value"))
                continue
            }
            if text.unicodeScalars.count > Template.valueMax {
                faults.append(
                    Template.fault(name, "must have at most \(Template.valueMax) characters")
                )
            }
            texts[name] = text
        }
        for (name, _) in values.members where !variables.contains(name) {
            faults.append(Template.fault(name, "has no place in the template"))
        }
        guard faults.isEmpty else { return .failure(InvalidValues(faults: faults)) }
        return .success(
            Rendering(
                text: text.map { Template.fill($0, texts) },
                blocks: blocks.map { Template.fill($0, texts) }
            )
        )
    }

    /// Values that do not fit.
    struct InvalidValues: Error, Sendable {
        let faults: [Problem.Fault]
    }

    private static func fault(_ name: String, _ detail: String) -> Problem.Fault {
        Problem.Fault(pointer: "/variables/\(name)", detail: detail)
    }

    private static func text(of value: JSON) -> String? {
        switch value {
        case .string(let text): text
        case .int, .double, .bool: value.text
        case .null, .array, .object: nil
        }
    }

    // MARK: Reading and filling strings

    private static func names(in text: String, at place: String) throws(Malformed) -> Set<String> {
        var names: Set<String> = []
        for case .variable(let name) in try pieces(of: text, at: place) { names.insert(name) }
        return names
    }

    private static func names(in value: JSON, at place: String) throws(Malformed) -> Set<String> {
        switch value {
        case .string(let text): return try names(in: text, at: place)
        case .array(let elements):
            var names: Set<String> = []
            for (index, element) in elements.enumerated() {
                names.formUnion(try Template.names(in: element, at: "\(place)/\(index)"))
            }
            return names
        case .object(let object):
            var names: Set<String> = []
            for (key, member) in object.members {
                names.formUnion(try Template.names(in: member, at: "\(place)/\(key)"))
            }
            return names
        case .null, .bool, .int, .double: return []
        }
    }

    private static func pieces(of text: String, at place: String) throws(Malformed) -> [Piece] {
        var pieces: [Piece] = []
        var rest = text[...]
        while let open = rest.firstRange(of: "{{") {
            pieces.append(.text(rest[..<open.lowerBound]))
            rest = rest[open.upperBound...]
            guard let close = rest.firstRange(of: "}}") else {
                throw Malformed(pointer: place, detail: "has a '{{' without its '}}'")
            }
            let name = rest[..<close.lowerBound].filter { $0 != " " }
            guard isName(name) else {
                throw Malformed(pointer: place, detail: "has no variable name in '{{\(name)}}'")
            }
            pieces.append(.variable(name))
            rest = rest[close.upperBound...]
        }
        pieces.append(.text(rest))
        return pieces
    }

    /// A letter or underscore, then letters, digits and underscores; 64 at most.
    private static func isName(_ name: String) -> Bool {
        guard (1...64).contains(name.utf8.count), let first = name.utf8.first else { return false }
        let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
        return !isDigit
            && name.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f: true
                default: false
                }
            }
    }

    private static func fill(_ text: String, _ values: [String: String]) -> String {
        // It was read once already: a template that cannot be read was refused.
        guard let pieces = try? pieces(of: text, at: "") else { return text }
        return pieces.reduce(into: "") { result, piece in
            switch piece {
            case .text(let text): result += text
            case .variable(let name): result += escaped(values[name] ?? "")
            }
        }
    }

    private static func fill(_ value: JSON, _ values: [String: String]) -> JSON {
        switch value {
        case .string(let text): .string(fill(text, values))
        case .array(let elements): .array(elements.map { fill($0, values) })
        case .object(let object):
            .object(JSONObject(object.members.map { ($0.key, fill($0.value, values)) }))
        case .null, .bool, .int, .double: value
        }
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            default: result.append(character)
            }
        }
    }
}
