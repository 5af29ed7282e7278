internal import DequeModule
internal import EventLoop

/// The pipelined connections for keyed reads.
///
/// A read goes to the connection with the fewest in flight; at equal load to the first, whose
/// statements are prepared. (Sharing the first one while it gets on had 0.6 to 0.7 times the rate in
/// three rounds of four on a busy machine, and more CPU for each read.) While none is connected, reads wait for as long as the
/// pool's callers do, and are refused at once when the outage has lasted that long already.
@LoopActor
final class ReaderGroup {
    private let keepers: [ConnectionKeeper]
    private let configuration: PostgresConfiguration
    private let observer: (any PostgresObserver)?
    private var waiting = Deque<(exchange: Exchange, deadline: MonotonicTime)>()
    private var timer: LoopTimer?
    private var downSince: MonotonicTime? = MonotonicTime.now()
    private var isStopped = false
    /// Reads sent a second time.
    private(set) var retries = 0

    init(
        _ configuration: PostgresConfiguration,
        _ connector: Connector,
        _ observer: (any PostgresObserver)?
    ) {
        self.configuration = configuration
        self.observer = observer
        keepers = (0..<configuration.readers).map { _ in ConnectionKeeper(connector, .reader) }
        for keeper in keepers {
            keeper.onUp = { [weak self] _ in self?.connected() }
            keeper.onDown = { [weak self] _ in self?.lost() }
        }
    }

    var liveCount: Int { keepers.count { $0.connection != nil } }
    var inFlightCount: Int { keepers.reduce(waiting.count) { $0 + ($1.connection?.load ?? 0) } }
    var serverVersion: Int? { keepers.lazy.compactMap(\.connection).first?.serverVersion }

    func start() async throws(PostgresError) {
        for keeper in keepers { try await keeper.start() }
    }

    /// The first connection of the process, for the checks before the others are opened.
    func startFirst() async throws(PostgresError) -> Connection {
        try await keepers[0].start()
        guard let connection = keepers[0].connection else {
            throw PostgresError(.stopped, "start", "the client was stopped")
        }
        return connection
    }

    func read(
        _ sql: String,
        _ parameters: [PostgresValue]
    ) async throws(PostgresError) -> PostgresRows {
        let deadline = EventLoop.shared.now + configuration.readDeadline
        var triesLeft = PostgresClient.readRetriesMax
        while true {
            var sent: Exchange?
            let outcome = await withCheckedContinuation { continuation in
                let exchange = Exchange(
                    sql,
                    parameters,
                    .read,
                    limit: configuration.readTimeout + Connection.cancelGrace,
                    deadline: deadline,
                    continuation
                )
                sent = exchange
                submit(exchange)
            }
            switch outcome {
            case .success(let rows): return rows
            case .failure(let error):
                // A read changes nothing, so a lost answer costs nothing but another try.
                guard error.code == .connection, sent?.wasSent == true, triesLeft > 0, !isStopped
                else { throw error }
                triesLeft -= 1
                retries += 1
                observer?.postgres(.readRetried)
                // A server that goes away ends its sessions one by one: the next could be next.
                try? await EventLoop.shared.sleep(for: Backoff.reconnect.delay(afterFailures: 1))
            }
        }
    }

    private func submit(_ exchange: Exchange) {
        guard let connection = leastLoaded() else {
            wait(exchange)
            return
        }
        guard connection.load < configuration.pendingReadsMax else {
            let text = "\(connection.load) reads are pending on each reader"
            exchange.answer(.failure(PostgresError(.poolExhausted, "read", text)))
            return
        }
        connection.submit(exchange)
    }

    private func leastLoaded() -> Connection? {
        var best: Connection?
        for keeper in keepers {
            guard let connection = keeper.connection else { continue }
            if best.map({ connection.load < $0.load }) ?? true { best = connection }
        }
        return best
    }

    // MARK: Waiting for a connection

    private func wait(_ exchange: Exchange) {
        let now = EventLoop.shared.now
        if isStopped {
            exchange.answer(.failure(PostgresError(.stopped, "read", "the client was stopped")))
            return
        }
        let isDown = downSince.map { now - $0 > configuration.acquireTimeout } ?? false
        guard !isDown, waiting.count < configuration.pendingReadsMax else {
            exchange.answer(.failure(downError))
            return
        }
        let deadline = min(now + configuration.acquireTimeout, exchange.deadline)
        waiting.append((exchange, deadline))
        armTimer()
    }

    private var downError: PostgresError {
        let reason = keepers.lazy.compactMap(\.lastError).first?.message ?? "not connected yet"
        return PostgresError(.connection, "read", "no connection: \(reason)")
    }

    private func armTimer() {
        guard let first = waiting.first, !(timer?.isPending ?? false) else { return }
        timer = EventLoop.shared.schedule(at: first.deadline) { [weak self] in self?.giveUp() }
    }

    private func giveUp() {
        let now = MonotonicTime.now()
        // A read in its second try has less time left than those before it, so all are looked at.
        let due = waiting.filter { $0.deadline <= now }
        waiting.removeAll { $0.deadline <= now }
        for (exchange, _) in due { exchange.answer(.failure(downError)) }
        armTimer()
    }

    private func connected() {
        downSince = nil
        let ready = waiting
        waiting.removeAll()
        for (exchange, _) in ready { submit(exchange) }
    }

    private func lost() {
        if liveCount == 0 { downSince = MonotonicTime.now() }
    }

    // MARK: Ending

    func close() {
        isStopped = true
        if let timer { EventLoop.shared.cancel(timer) }
        for keeper in keepers { keeper.stop() }
        for (exchange, _) in waiting {
            exchange.answer(.failure(PostgresError(.stopped, "read", "the client was stopped")))
        }
        waiting.removeAll()
    }
}
