internal import CLibPQ

/// One `PGresult`, freed at the end of its life; whatever is kept of it is copied.
struct LibPQResult: ~Copyable {
    private let result: OpaquePointer

    init(_ result: OpaquePointer) { self.result = result }

    deinit { PQclear(result) }

    var kind: PipelineStateMachine.Received {
        switch PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: .success
        case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE: .error
        case PGRES_PIPELINE_ABORTED: .aborted
        case PGRES_PIPELINE_SYNC: .sync
        default: .other
        }
    }

    var fields: PostgresError.ServerFields { LibPQResult.fields(of: result) }

    /// The parts of an error or a notice; libpq's own errors have a message only.
    static func fields(of result: OpaquePointer) -> PostgresError.ServerFields {
        func field(_ code: Unicode.Scalar) -> String? {
            PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
        }
        // The letters are those of the protocol (the manual, 55.8).
        return PostgresError.ServerFields(
            severity: field("V") ?? "",
            sqlState: field("C") ?? "",
            message: field("M") ?? LibPQ.oneLine(PQresultErrorMessage(result)),
            detail: field("D"),
            hint: field("H"),
            constraint: field("n"),
            table: field("t"),
            column: field("c"),
            sourceFunction: field("R")
        )
    }

    /// Copies everything out.
    ///
    /// - Parameter known: the statement's columns, when an earlier result has shown them.
    /// - Throws: ``PostgresError`` when the values come to more than ``PostgresRows/sizeMax``.
    func rows(known: PostgresColumns?) throws(PostgresError) -> PostgresRows {
        let rowCount = Int(PQntuples(result))
        let columnCount = Int(PQnfields(result))
        let columns = known.flatMap { $0.names.count == columnCount ? $0 : nil } ?? columns()
        var total = 0
        for row in 0..<Int32(rowCount) {
            for column in 0..<Int32(columnCount) { total += Int(PQgetlength(result, row, column)) }
        }
        guard total <= PostgresRows.sizeMax else {
            throw PostgresError(.decoding, "rows", "the result comes to more than 64 MiB")
        }
        var spans: [PostgresRows.Span] = []
        spans.reserveCapacity(rowCount * columnCount)
        let bytes = [UInt8](unsafeUninitializedCapacity: total) { buffer, filled in
            for row in 0..<Int32(rowCount) {
                for column in 0..<Int32(columnCount) {
                    spans.append(copy(row, column, to: buffer, &filled))
                }
            }
        }
        return PostgresRows(
            storage: PostgresRows.Storage(
                columns: columns,
                bytes: bytes,
                spans: spans,
                count: rowCount,
                affected: affected,
                tag: String(cString: PQcmdStatus(result))
            )
        )
    }

    private func copy(
        _ row: Int32,
        _ column: Int32,
        to buffer: UnsafeMutableBufferPointer<UInt8>,
        _ filled: inout Int
    ) -> PostgresRows.Span {
        let length = Int(PQgetlength(result, row, column))
        let start = filled
        if length == 0 {
            let isNull = PQgetisnull(result, row, column) == 1
            return PostgresRows.Span(start: Int32(start), length: isNull ? -1 : 0)
        }
        if let value = PQgetvalue(result, row, column), let base = buffer.baseAddress {
            (base + start).update(
                from: UnsafeRawPointer(value).assumingMemoryBound(to: UInt8.self),
                count: length
            )
        }
        filled += length
        return PostgresRows.Span(start: Int32(start), length: Int32(length))
    }

    private func columns() -> PostgresColumns {
        let count = PQnfields(result)
        if count == 0 { return .none }
        return PostgresColumns((0..<count).map { String(cString: PQfname(result, $0)) })
    }

    /// The count that the command's tag ends with.
    private var affected: Int {
        guard let text = PQcmdTuples(result) else { return 0 }
        var count = 0
        var next = text
        while next.pointee != 0 {
            count = count * 10 + Int(next.pointee) - 48
            next += 1
        }
        return count
    }
}
