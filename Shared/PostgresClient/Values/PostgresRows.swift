/// The rows of one result, copied out of libpq's memory.
///
/// All values lie in one array, so a result costs two allocations whatever its size.
public struct PostgresRows: Sendable {
    final class Storage: Sendable {
        let columns: PostgresColumns
        let bytes: [UInt8]
        /// Where each value stands, row by row.
        let spans: [Span]
        let count: Int
        let affected: Int
        let tag: String

        init(
            columns: PostgresColumns,
            bytes: [UInt8],
            spans: [Span],
            count: Int,
            affected: Int,
            tag: String
        ) {
            self.columns = columns
            self.bytes = bytes
            self.spans = spans
            self.count = count
            self.affected = affected
            self.tag = tag
        }
    }

    /// What the values of one result may come to.
    static let sizeMax = 64 << 20

    struct Span: Sendable {
        let start: Int32
        /// Negative for NULL.
        let length: Int32
    }

    let storage: Storage

    /// How many rows the statement returned or touched.
    public var affected: Int { storage.affected }
    /// The names of the columns, in order.
    public var columns: [String] { storage.columns.names }
    /// The server's word for what it did ("INSERT 0 1"), for tests and logs.
    var tag: String { storage.tag }

    /// The only row.
    ///
    /// - Throws: ``PostgresError`` with code `decoding` when there is none or more than one.
    public func one() throws(PostgresError) -> PostgresRow {
        guard count == 1 else {
            throw PostgresError(.decoding, "rows", "one row was expected and \(count) came")
        }
        return self[0]
    }
}

extension PostgresRows: RandomAccessCollection {
    /// Zero.
    public var startIndex: Int { 0 }
    /// The number of rows.
    public var endIndex: Int { storage.count }
    /// The row at `index`.
    public subscript(index: Int) -> PostgresRow {
        precondition(index >= 0 && index < storage.count, "row \(index) of \(storage.count)")
        return PostgresRow(storage: storage, index: index)
    }
}

/// The names of a result's columns, shared by its rows.
final class PostgresColumns: Sendable {
    static let none = PostgresColumns([])

    let names: [String]

    init(_ names: [String]) { self.names = names }

    /// The first column of this name; results have few, so that looking along them is cheapest.
    func index(of name: String) -> Int? { names.firstIndex(of: name) }
}
