internal import DequeModule
internal import EventLoop

extension Connection {
    /// The socket can be read or written.
    func ready(_ readiness: Readiness) {
        guard isOpen else { return }
        let isAlive = link.consume()
        // What came before the end counts: it may say why.
        if script != nil { readScript() } else { readResults() }
        guard isAlive else {
            close(PostgresError(.connection, "receive", link.message))
            return
        }
        guard isOpen else { return }
        while let notification = link.nextNotification() { onNotification?(notification) }
        flushOutput()
    }

    /// Takes every result that is complete.
    ///
    /// One "nothing" ends the results of a piece; two in a row mean that libpq has no more.
    private func readResults() {
        var ends = 0
        // Asking whether it is busy also makes libpq look at what came unasked.
        while !link.isBusy, machine.count > 0 {
            guard let result = link.nextResult() else {
                ends += 1
                if ends == 2 { return }
                continue
            }
            ends = 0
            receive(result)
            guard isOpen else { return }
        }
    }

    /// Writes what the socket takes, and asks to be told when it takes more.
    func flushOutput() {
        guard isOpen, let registration else { return }
        switch link.flush() {
        case .done: EventLoop.shared.update(registration, interest: .read)
        case .blocked: EventLoop.shared.update(registration, interest: [.read, .write])
        case .failed: close(PostgresError(.connection, "send", link.message))
        }
    }

    // MARK: Time

    /// Makes sure that a timer looks at the line when something in it may be overdue.
    ///
    /// It is left alone while it is early enough, so in steady state no statement costs a timer.
    func watch() {
        guard isOpen, let due = nextDue() else { return }
        if let watchTimer, watchTimer.isPending {
            if watchTimer.deadline <= due { return }
            EventLoop.shared.cancel(watchTimer)
        }
        watchTimer = EventLoop.shared.schedule(at: due) { [weak self] in self?.lookAtTheLine() }
    }

    private func nextDue() -> MonotonicTime? {
        guard let first = inFlight.first else { return nil }
        let grace = isCancelling ? Connection.cancelGrace : .zero
        let due = headSince + (first.limit + grace)
        guard let impatient = inFlight.first(where: { !$0.isAnswered }) else { return due }
        return min(due, impatient.deadline)
    }

    private func lookAtTheLine() {
        guard isOpen else { return }
        let now = MonotonicTime.now()
        for exchange in inFlight where !exchange.isAnswered && exchange.deadline <= now {
            // Its place stays, or the answers of the others would shift.
            exchange.answer(.failure(Connection.tooSlow))
        }
        if let first = inFlight.first, headSince + first.limit <= now {
            // Readers are never cancelled: the request would hit whatever runs by then.
            if role != .reader && !isCancelling {
                cancel()
            } else if !isCancelling || headSince + (first.limit + Connection.cancelGrace) <= now {
                close(Connection.tooSlow)
                return
            }
        }
        watch()
    }

    static let tooSlow = PostgresError(.timeout, "query", "the server did not answer in time")

    /// Asks the server to stop what runs.
    ///
    /// The connection is not used again: the request may arrive after the statement's end and would
    /// hit the next one.
    private func cancel() {
        isCancelling = true
        isSpoiled = true
        observer?.postgres(.cancelled(role: role.rawValue))
        guard let request = link.cancelRequest() else { return }
        // The loop goes on; nobody waits for this task.
        Task {
            do {
                try await Offload.blocking.run(request)
            } catch {
                observer?.postgres(.warning("a cancel request was not sent: \(error)"))
            }
        }
    }

    // MARK: For one user at a time

    /// Runs one statement and waits for its end.
    func query(
        _ sql: String,
        _ parameters: [PostgresValue] = [],
        opening: String? = nil,
        kind: Exchange.Kind,
        limit: Duration
    ) async throws(PostgresError) -> PostgresRows {
        let outcome = await withCheckedContinuation { continuation in
            submit(
                Exchange(
                    sql,
                    parameters,
                    kind,
                    opening: opening,
                    limit: limit,
                    continuation
                )
            )
        }
        return try outcome.get()
    }
}
