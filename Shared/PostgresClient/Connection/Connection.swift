internal import DequeModule
internal import EventLoop

/// One connection in pipeline mode: exchanges go out as they come, each ended by a sync of its own,
/// so that no statement shares a transaction or a failure with its neighbours.
///
/// The pool puts one exchange at a time on it, a reader as many as come. Whoever holds it learns of
/// its end through ``onClosed``, before the callers of what was in flight do.
@LoopActor
final class Connection: Channel {
    /// After this much beyond its limit an exchange that was cancelled takes its connection along.
    static let cancelGrace: Duration = .seconds(1)

    let role: ConnectionRole
    /// The server's name for messages.
    let host: String
    let link: LibPQ
    let observer: (any PostgresObserver)?
    /// Called once, with the reason.
    var onClosed: ((PostgresError) -> Void)?
    var onNotification: ((PostgresNotification) -> Void)?

    var isOpen = true
    /// Closed rather than used again when its user is done: cancelled, or the server is read-only.
    var isSpoiled = false

    var registration: Registration?
    var machine = PipelineStateMachine()
    var inFlight = Deque<Exchange>()
    var rows: PostgresRows?
    var failure: (error: PostgresError.ServerFields, step: ExchangeSteps)?
    /// The script that runs instead of exchanges; see `Connection+Script.swift`.
    var script: ScriptRun?

    /// Since when the first exchange has been first.
    var headSince = MonotonicTime.distantFuture
    var watchTimer: LoopTimer?
    var isCancelling = false
    /// What the server said when it ended the session outside of an exchange.
    private var farewell: PostgresError.ServerFields?

    private var statements: StatementCache
    private var parameters = ParameterBuffer()

    init(
        _ link: LibPQ,
        role: ConnectionRole,
        host: String,
        statementCacheMax: Int,
        observer: (any PostgresObserver)?
    ) throws(PostgresError) {
        self.link = link
        self.role = role
        self.host = host
        self.observer = observer
        statements = StatementCache(limit: statementCacheMax)
        guard link.enterPipelineMode(), let descriptor = link.descriptor else {
            throw PostgresError(.connection, "connect", link.message)
        }
        do {
            registration = try EventLoop.shared.add(self, descriptor: descriptor, interest: .read)
        } catch {
            throw PostgresError(.connection, "connect", error.description)
        }
        link.onNotice = { [unowned self] in noticed($0) }
    }

    /// Exchanges sent and not ended.
    var load: Int { machine.count }
    var serverVersion: Int { link.serverVersion }

    // MARK: Sending

    /// Sends an exchange; its end is told to its owner and its caller, never from inside this call
    /// unless it cannot be sent at all.
    func submit(_ exchange: Exchange) {
        exchange.connection = self
        guard isOpen else {
            exchange.end(.failure(PostgresError(.connection, "query", "the connection is closed")))
            return
        }
        do {
            try parameters.encode(exchange.parameters)
        } catch {
            exchange.end(.failure(error))
            return
        }
        let dropped = plan(exchange)
        if machine.count == 0 { headSince = MonotonicTime.now() }
        machine.sent(exchange.steps)
        inFlight.append(exchange)
        guard send(exchange, dropping: dropped) else {
            close(PostgresError(.connection, "send", link.message))
            return
        }
        flushOutput()
        watch()
    }

    /// Decides the pieces of the exchange; returns the statement to drop, if any.
    private func plan(_ exchange: Exchange) -> String? {
        exchange.steps = exchange.opening == nil ? .execute : [.begin, .execute]
        if exchange.isSecondTry {
            // The unnamed statement, which no other exchange can spoil.
            exchange.statement = ""
            exchange.steps.insert(.prepare)
            return nil
        }
        switch statements.use(exchange.sql) {
        case .prepared(let name):
            exchange.statement = name
            return nil
        case .prepare(let name, let dropped):
            exchange.statement = name
            exchange.steps.insert(.prepare)
            if dropped != nil { exchange.steps.insert(.deallocate) }
            return dropped
        }
    }

    private func send(_ exchange: Exchange, dropping dropped: String?) -> Bool {
        if let dropped, !link.run("DEALLOCATE \(dropped)") { return false }
        if let opening = exchange.opening, !link.run(opening) { return false }
        if exchange.steps.contains(.prepare), !link.prepare(exchange.statement, exchange.sql) {
            return false
        }
        return link.execute(exchange.statement, parameters) && link.sync()
    }

    // MARK: Ending

    /// Takes what a result says; `kept` is the column names known already.
    func receive(_ result: consuming LibPQResult) {
        switch machine.received(result.kind) {
        case .skip: break
        case .keepRows: keepRows(result)
        case .keepError(let step): failure = (result.fields, step)
        case .finish: finishFirst()
        case .violation:
            close(PostgresError(.connection, "receive", "unexpected answer: \(link.message)"))
        }
    }

    private func keepRows(_ result: borrowing LibPQResult) {
        let sql = inFlight[0].sql
        let known = statements.columns(of: sql)
        do {
            let rows = try result.rows(known: known)
            if known !== rows.storage.columns { statements.remember(rows.storage.columns, of: sql) }
            self.rows = rows
        } catch {
            failure = (PostgresError.ServerFields(message: error.message), .execute)
        }
    }

    private func finishFirst() {
        let exchange = inFlight.removeFirst()
        let (rows, failure) = (rows, failure)
        (self.rows, self.failure) = (nil, nil)
        headSince = EventLoop.shared.now
        guard let failure else {
            exchange.end(rows.map { .success($0) } ?? .failure(Connection.noRows))
            return
        }
        let error = Connection.error(of: failure.error)
        forgetStatement(of: exchange, after: error, at: failure.step)
        // Nothing ran, so it may be sent again; inside a transaction the whole has to be.
        if error.isStalePlan, exchange.isResendable, !exchange.isSecondTry {
            exchange.isSecondTry = true
            submit(exchange)
            return
        }
        if error.sqlState == SQLState.readOnlyTransaction, role != .reader { isSpoiled = true }
        exchange.end(.failure(error))
    }

    private func forgetStatement(
        of exchange: Exchange,
        after error: PostgresError,
        at step: ExchangeSteps
    ) {
        if exchange.steps.contains(.prepare), step != .execute, step != [] {
            statements.preparationFailed(exchange.sql, name: exchange.statement)
        } else if error.isStalePlan {
            statements.becameStale(
                exchange.sql,
                name: exchange.statement,
                isKnownToServer: error.sqlState != SQLState.invalidStatementName
            )
        }
    }

    static let noRows = PostgresError(.connection, "receive", "the server sent no result")

    nonisolated static func error(of fields: PostgresError.ServerFields) -> PostgresError {
        if fields.sqlState.isEmpty { return PostgresError(.decoding, "query", fields.message) }
        let isTimeout = fields.sqlState == SQLState.queryCanceled
        return PostgresError(isTimeout ? .timeout : .server, "query", fields)
    }

    private func noticed(_ fields: PostgresError.ServerFields) {
        if fields.severity == "FATAL" || fields.severity == "PANIC" {
            farewell = fields
            return
        }
        observer?.postgres(
            .notice(
                severity: fields.severity,
                sqlState: fields.sqlState,
                message: fields.message
            )
        )
    }

    /// Gives the connection up, and whatever is in flight fails; does nothing the second time.
    func close(_ reason: PostgresError) {
        guard isOpen else { return }
        isOpen = false
        if let registration { EventLoop.shared.remove(registration) }
        if let watchTimer { EventLoop.shared.cancel(watchTimer) }
        link.finish()
        let error = farewell.map { PostgresError(.connection, reason.operation, $0) } ?? reason
        onClosed?(error)
        (onClosed, onNotification) = (nil, nil)
        script?.end(.failure(error))
        var isFirst = true
        while let exchange = inFlight.popFirst() {
            exchange.end(.failure(loss(of: exchange, isFirst: isFirst, error)))
            isFirst = false
        }
    }

    /// What an exchange in flight is told when its connection dies.
    private func loss(
        of exchange: Exchange,
        isFirst: Bool,
        _ reason: PostgresError
    ) -> PostgresError {
        if isFirst, let failure {
            let error = Connection.error(of: failure.error)
            // An ordinary error of the statement: it surely did not happen.
            if error.sqlState != nil && !error.endsSession { return error }
            if error.endsSession {
                let ended = PostgresError(.connection, "query", failure.error)
                return exchange.isLossUnknown ? ended.withUnknownOutcome() : ended
            }
        }
        return exchange.isLossUnknown ? reason.withUnknownOutcome() : reason
    }
}
