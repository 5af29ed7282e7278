public import FoundationEssentials
public import HTTPServer
public import JSON

/// A page of a list: one element more than asked for tells that there is another page.
public enum Page {
    /// The page size when none is asked for.
    public static let limitDefault = 50
    /// What may be asked for.
    public static let limits = 1...200

    /// The query parameters of a list.
    public static let parameters = [
        QueryParameter(
            "limit",
            "How many to answer, 1 to 200.",
            schema: ["type": "integer", "minimum": 1, "maximum": 200]
        ),
        QueryParameter("cursor", "The `next_cursor` of the page before."),
    ]

    /// The limit and the id after which the page begins.
    public static func read(_ request: Request) throws(Problem) -> (limit: Int, after: UUID?) {
        let limit = try request.query.int("limit", in: limits) ?? limitDefault
        guard let cursor = request.query["cursor"] else { return (limit, nil) }
        guard let id = UUID(text: cursor) else {
            throw Problem.invalid("/query/cursor", "is not a cursor of this list")
        }
        return (limit, id)
    }

    /// The answer to a list that was read with one element more than `limit`.
    public static func answer(_ items: [JSON], limit: Int) -> Response {
        let page = Array(items.prefix(limit))
        let next = items.count > limit ? page.last?["id"]?.stringValue : nil
        return .json(200, ["items": .array(page), "next_cursor": JSON(next)])
    }
}
