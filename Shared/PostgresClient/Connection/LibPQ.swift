internal import CLibPQ
internal import EventLoop

/// One `PGconn`: libpq's calls with Swift's types, and the only place that knows the pointer.
///
/// Nothing here waits: the socket is non-blocking once connected, and a result is asked for only
/// when libpq says that it is complete. ``finish()`` must be the last call.
@LoopActor
final class LibPQ {
    enum Progress: Sendable, Hashable {
        case waitsToRead
        case waitsToWrite
        case connected
        case failed
    }

    enum FlushResult: Sendable, Hashable {
        case done
        case blocked
        case failed
    }

    private let connection: OpaquePointer
    private var isFinished = false
    /// Told of notices and of errors that come outside of any exchange.
    var onNotice: ((PostgresError.ServerFields) -> Void)?

    /// Begins to connect; libpq resolves no name when every candidate is numeric.
    init(keywords: [(String, String)]) throws(PostgresError) {
        let names = CStringList(keywords.map(\.0))
        let values = CStringList(keywords.map(\.1))
        let started = names.withPointers { names in
            values.withPointers { values in PQconnectStartParams(names, values, 0) }
        }
        guard let started else {
            throw PostgresError(.connection, "connect", "libpq is out of memory")
        }
        connection = started
        PQsetNoticeReceiver(
            connection,
            { context, result in
                guard let context, let result else { return }
                LoopActor.assumeIsolated {
                    let link = Unmanaged<LibPQ>.fromOpaque(context).takeUnretainedValue()
                    link.onNotice?(LibPQResult.fields(of: result))
                }
            },
            Unmanaged.passUnretained(self).toOpaque()
        )
    }

    func finish() {
        guard !isFinished else { return }
        isFinished = true
        onNotice = nil
        PQfinish(connection)
    }

    // MARK: Connecting

    var isBad: Bool { PQstatus(connection) == CONNECTION_BAD }

    func poll() -> Progress {
        switch PQconnectPoll(connection) {
        case PGRES_POLLING_READING: .waitsToRead
        case PGRES_POLLING_WRITING: .waitsToWrite
        case PGRES_POLLING_OK: .connected
        default: .failed
        }
    }

    /// The socket's descriptor, or nil when there is none.
    var descriptor: Int32? {
        let descriptor = PQsocket(connection)
        return descriptor < 0 ? nil : descriptor
    }

    var serverVersion: Int { Int(PQserverVersion(connection)) }
    var processID: Int32 { PQbackendPID(connection) }
    /// Inside a transaction that can still be committed.
    var isInTransaction: Bool { PQtransactionStatus(connection) == PQTRANS_INTRANS }

    /// libpq's latest words, on one line.
    var message: String {
        LibPQ.oneLine(PQerrorMessage(connection))
    }

    nonisolated static func oneLine(_ text: UnsafePointer<CChar>) -> String {
        String(cString: text).split { $0.isWhitespace }.joined(separator: " ")
    }

    func enterPipelineMode() -> Bool {
        PQsetnonblocking(connection, 1) == 0 && PQenterPipelineMode(connection) == 1
    }

    func exitPipelineMode() -> Bool { PQexitPipelineMode(connection) == 1 }

    // MARK: Sending; all return false when the connection cannot be used any more

    func prepare(_ name: String, _ sql: String) -> Bool {
        PQsendPrepare(connection, name, sql, 0, nil) == 1
    }

    /// Runs a statement without parameters that is not worth preparing.
    func run(_ sql: String) -> Bool {
        PQsendQueryParams(connection, sql, 0, nil, nil, nil, nil, 0) == 1
    }

    func execute(_ name: String, _ parameters: ParameterBuffer) -> Bool {
        parameters.bytes.withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { text in
                withUnsafeTemporaryAllocation(
                    of: UnsafePointer<CChar>?.self,
                    capacity: parameters.offsets.count
                ) { pointers in
                    for (index, offset) in parameters.offsets.enumerated() {
                        let start = offset < 0 ? nil : text.baseAddress?.advanced(by: offset)
                        pointers.initializeElement(at: index, to: start)
                    }
                    let count = Int32(parameters.offsets.count)
                    let first = UnsafePointer(pointers.baseAddress)
                    return PQsendQueryPrepared(connection, name, count, first, nil, nil, 0) == 1
                }
            }
        }
    }

    /// Ends an exchange; writes to the socket what it can take.
    func sync() -> Bool { PQpipelineSync(connection) == 1 }

    /// Runs statements separated by semicolons, outside of pipeline mode.
    func sendScript(_ sql: String) -> Bool { PQsendQuery(connection, sql) == 1 }

    func flush() -> FlushResult {
        switch PQflush(connection) {
        case 0: .done
        case 1: .blocked
        default: .failed
        }
    }

    // MARK: Receiving

    /// Takes what the socket has; false when the connection is gone.
    ///
    /// One call takes at least 8 KiB, and a TLS record holds up to 16 KiB: what is left of it lies
    /// in the TLS library, where no readiness of the socket tells of it. PostgreSQL itself writes
    /// smaller records, poolers in front of it do not.
    func consume() -> Bool {
        let rounds = PQsslInUse(connection) == 1 ? 3 : 1
        for _ in 0..<rounds where PQconsumeInput(connection) != 1 { return false }
        return true
    }

    /// Whether asking for a result would wait; also lets libpq look at what came unasked.
    var isBusy: Bool { PQisBusy(connection) == 1 }

    /// The next result, or nil at the end of one piece's results; ask only when not busy.
    func nextResult() -> LibPQResult? {
        guard let result = PQgetResult(connection) else { return nil }
        return LibPQResult(result)
    }

    func nextNotification() -> PostgresNotification? {
        guard let notification = PQnotifies(connection) else { return nil }
        defer { PQfreemem(notification) }
        return PostgresNotification(
            channel: String(cString: notification.pointee.relname),
            payload: String(cString: notification.pointee.extra),
            processID: notification.pointee.be_pid
        )
    }

    // MARK: Cancelling

    /// A call that asks the server to cancel what the session runs, or nil without memory for it.
    ///
    /// It blocks, so it belongs on ``Offload/blocking``.
    func cancelRequest() -> (@Sendable () -> Void)? {
        guard let cancel = PQgetCancel(connection) else { return nil }
        let address = UInt(bitPattern: cancel)
        return {
            guard let cancel = OpaquePointer(bitPattern: address) else { return }
            var reason = [CChar](repeating: 0, count: 256)
            // A request that fails leaves the statement to its deadline.
            _ = PQcancel(cancel, &reason, Int32(reason.count))
            PQfreeCancel(cancel)
        }
    }
}

/// NUL-terminated strings and an array of pointers to them, ended by a null pointer.
private struct CStringList {
    private var bytes: [CChar] = []
    private var offsets: [Int] = []

    init(_ strings: [String]) {
        for string in strings {
            offsets.append(bytes.count)
            bytes.append(contentsOf: string.utf8.lazy.map(CChar.init(bitPattern:)))
            bytes.append(0)
        }
    }

    func withPointers<Value>(
        _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Value
    ) -> Value {
        bytes.withUnsafeBufferPointer { text in
            var pointers = offsets.map { offset in text.baseAddress.map { $0 + offset } }
            pointers.append(nil)
            return pointers.withUnsafeBufferPointer { body($0.baseAddress) }
        }
    }
}
