public import JSON
public import PostgresClient

extension JSON {
    /// The document in the column `answer` of a row; null when there is none.
    public init(stored row: PostgresRow) throws {
        self =
            try row.isNull("answer")
            ? .null : JSON(parsing: Array(try row.json("answer").utf8), limits: .foreign)
    }
}

/// A database function answered something that it never should.
public struct UnexpectedAnswer: Error, Sendable {
    /// The function's name.
    public let function: String

    /// An odd answer of `function`.
    public init(function: String) {
        self.function = function
    }
}
