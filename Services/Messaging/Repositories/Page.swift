internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import PostgresClient

/// A page of a list: how many, and after which item.
///
/// A cursor names the last item that was seen, so a page costs the same at any depth.
struct Page: Sendable, Hashable {
    /// How many items a page has when nobody says.
    static let limitDefault = 50
    /// How many it may have.
    static let limits = 1...200

    /// How many items.
    let limit: Int
    /// The sort key of the last item seen; `nil` for the first page.
    let after: String?

    /// The parameters, for a route's table.
    static let parameters = [
        QueryParameter(
            "limit",
            "How many items, at most 200.",
            schema: ["type": "integer", "minimum": 1, "maximum": 200, "default": 50]
        ),
        QueryParameter("cursor", "`next_cursor` of the page before."),
    ]

    /// Reads `limit` and `cursor`.
    init(_ query: QueryParameters, limit standard: Int = Page.limitDefault) throws(Problem) {
        limit = try query.int("limit", in: Page.limits) ?? standard
        guard let cursor = query["cursor"] else {
            after = nil
            return
        }
        guard let data = Data(base64Encoded: cursor), data.count <= 64,
            let key = String(bytes: data, encoding: .utf8)
        else { throw .invalid("/query/cursor", "is not a cursor of this list") }
        after = key
    }

    /// The key as a sequence number.
    func afterNumber() throws(Problem) -> Int64? {
        guard let after else { return nil }
        guard let number = Int64(after) else {
            throw .invalid("/query/cursor", "is not a cursor of this list")
        }
        return number
    }

    /// The key as an id.
    func afterID() throws(Problem) -> UUID? {
        guard let after else { return nil }
        guard let id = UUID(text: after) else {
            throw .invalid("/query/cursor", "is not a cursor of this list")
        }
        return id
    }

    /// The answer made of `rows` (one more than the limit, if there are more), whose columns are
    /// `item`, the document, and `key`, what the cursor names.
    func response(_ rows: PostgresRows) throws -> Response {
        var writer = JSONWriter(capacity: 4096)
        writer.beginObject()
        writer.key("items")
        writer.beginArray()
        for row in rows.prefix(limit) { writer.raw(try row.utf8("item")) }
        writer.endArray()
        var cursor: String?
        if rows.count > limit, let last = rows.prefix(limit).last {
            cursor = Data(try row(last).utf8).base64EncodedString()
        }
        writer.member("next_cursor", cursor)
        writer.endObject()
        return .json(writer)
    }

    private func row(_ last: PostgresRow) throws(PostgresError) -> String {
        try last.string("key")
    }
}
