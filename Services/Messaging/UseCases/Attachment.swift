internal import JSON

/// A file that came with a message, as its sender named it; the file itself stays where it is.
struct Attachment: Sendable, Hashable {
    /// How many a message may have.
    static let countMax = 20

    let name: String
    let contentType: String?
    let url: String?

    static let schema: JSON = [
        "type": "array", "minItems": 1, "maxItems": .int(Int64(countMax)),
        "items": Schemas.object(
            ["name": Schemas.text, "content_type": Schemas.text, "url": Schemas.text],
            required: ["name"]
        ),
    ]

    /// The member `attachments` of a request; `nil` when it is absent.
    static func list(_ fields: inout JSONFields) -> [Attachment]? {
        fields.optionalArray("attachments", count: 1...countMax) { file in
            Attachment(
                name: file.string("name", length: 1...255),
                contentType: file.optionalString("content_type", length: 1...255),
                url: file.optionalString("url", length: 1...2000)
            )
        }
    }

    var document: JSON {
        var document: JSONObject = ["name": .string(name)]
        if let contentType { document["content_type"] = .string(contentType) }
        if let url { document["url"] = .string(url) }
        return .object(document)
    }

    /// As the database keeps them; `nil` for none.
    static func document(of files: [Attachment]) -> JSON? {
        files.isEmpty ? nil : .array(files.map(\.document))
    }

    /// What stands in a text for a file.
    static func words(_ name: String) -> String { "(file: \(name))" }

    /// The text of a message that has none of its own.
    static func words(of files: [Attachment]) -> String {
        files.map { words($0.name) }.joined(separator: "\n")
    }
}
