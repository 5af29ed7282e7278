internal import EventLoop

/// The pool's connections, each with one user at a time.
///
/// A statement that has to wait is sent by whoever frees the connection, in the same call: between
/// two statements the server is idle for no longer than it takes to write to its socket.
@LoopActor
final class ConnectionPool: ExchangeOwner {
    /// An exclusive connection.
    struct Lease {
        let slot: Int
        let connection: Connection
    }

    private enum Waiter {
        case exchange(Exchange)
        case lease(CheckedContinuation<Result<Lease, PostgresError>, Never>)

        @LoopActor func fail(_ error: PostgresError) {
            switch self {
            case .exchange(let exchange): exchange.answer(.failure(error))
            case .lease(let continuation): continuation.resume(returning: .failure(error))
            }
        }
    }

    private let keepers: [ConnectionKeeper]
    private var machine: PoolStateMachine
    private var waiters: [PoolStateMachine.Waiter: Waiter] = [:]
    private var lastWaiter: PoolStateMachine.Waiter = 0
    private var timer: LoopTimer?
    /// Callers refused because no connection came free.
    private(set) var exhaustions = 0

    init(_ configuration: PostgresConfiguration, _ connector: Connector) {
        keepers = (0..<configuration.poolSize).map { _ in ConnectionKeeper(connector, .pool) }
        machine = PoolStateMachine(
            size: configuration.poolSize,
            waitersMax: configuration.waitersMax,
            patience: configuration.acquireTimeout,
            ageMax: configuration.connectionAgeMax,
            now: MonotonicTime.now()
        )
        for (slot, keeper) in keepers.enumerated() {
            keeper.onUp = { [weak self] _ in self?.connected(slot) }
            keeper.onDown = { [weak self] _ in self?.lost(slot) }
        }
    }

    var idleCount: Int { machine.idleCount }
    var leasedCount: Int { machine.leasedCount }
    var liveCount: Int { machine.liveCount }
    var waitingCount: Int { machine.waitingCount }

    func start() async throws(PostgresError) {
        for keeper in keepers { try await keeper.start() }
    }

    // MARK: Use

    /// Sends one statement on the next free connection.
    func submit(_ exchange: Exchange) {
        lastWaiter += 1
        switch machine.acquire(lastWaiter, now: EventLoop.shared.now) {
        case .lease(let slot): send(exchange, on: slot)
        case .wait: wait(.exchange(exchange))
        case .refuse(let refusal): exchange.answer(.failure(error(refusal)))
        }
    }

    /// A connection for the caller alone, until ``release(_:isReusable:)``.
    func lease() async throws(PostgresError) -> Lease {
        let outcome = await withCheckedContinuation { continuation in
            lastWaiter += 1
            switch machine.acquire(lastWaiter, now: EventLoop.shared.now) {
            case .lease(let slot): lend(slot, to: continuation)
            case .wait: wait(.lease(continuation))
            case .refuse(let refusal): continuation.resume(returning: .failure(error(refusal)))
            }
        }
        return try outcome.get()
    }

    func release(_ lease: Lease, isReusable: Bool) {
        // Another connection may be in its slot by now, and with another user.
        guard keepers[lease.slot].connection === lease.connection else { return }
        let isReusable = isReusable && !lease.connection.isSpoiled
        perform(machine.released(lease.slot, isReusable: isReusable, now: EventLoop.shared.now))
    }

    func ended(_ exchange: Exchange) {
        guard let connection = exchange.connection else { return }
        release(Lease(slot: exchange.slot, connection: connection), isReusable: true)
    }

    private func send(_ exchange: Exchange, on slot: Int) {
        guard let connection = keepers[slot].connection else {
            preconditionFailure("slot \(slot) was leased without a connection")
        }
        exchange.owner = self
        exchange.slot = slot
        connection.submit(exchange)
    }

    private func lend(
        _ slot: Int,
        to continuation: CheckedContinuation<Result<Lease, PostgresError>, Never>
    ) {
        guard let connection = keepers[slot].connection else {
            preconditionFailure("slot \(slot) was leased without a connection")
        }
        continuation.resume(returning: .success(Lease(slot: slot, connection: connection)))
    }

    private func perform(_ action: PoolStateMachine.FreeAction) {
        switch action {
        case .none: break
        case .lease(let slot, let waiter):
            switch waiters.removeValue(forKey: waiter) {
            case .exchange(let exchange): send(exchange, on: slot)
            case .lease(let continuation): lend(slot, to: continuation)
            case nil: preconditionFailure("waiter \(waiter) is not known")
            }
        case .replace(let slot): keepers[slot].replace()
        case .close(let slot): keepers[slot].stop()
        }
    }

    // MARK: Connections that come and go

    private func connected(_ slot: Int) {
        perform(machine.connected(slot, now: MonotonicTime.now()))
    }

    private func lost(_ slot: Int) {
        machine.lost(slot, now: MonotonicTime.now())
    }

    /// Refuses everything from now on and closes what is idle.
    func stopLeasing() {
        let (refused, slots) = machine.stop()
        for waiter in refused { waiters.removeValue(forKey: waiter)?.fail(error(.stopped)) }
        for slot in slots { keepers[slot].stop() }
    }

    func close() {
        if let timer { EventLoop.shared.cancel(timer) }
        for keeper in keepers { keeper.stop() }
    }

    // MARK: Waiting

    private func wait(_ waiter: Waiter) {
        waiters[lastWaiter] = waiter
        armTimer()
    }

    private func armTimer() {
        guard let deadline = machine.nextDeadline, !(timer?.isPending ?? false) else { return }
        timer = EventLoop.shared.schedule(at: deadline) { [weak self] in self?.giveUp() }
    }

    private func giveUp() {
        for waiter in machine.waitersDue(now: MonotonicTime.now()) {
            let reason = machine.liveCount == 0 ? error(.down) : exhausted("none came free in time")
            waiters.removeValue(forKey: waiter)?.fail(reason)
        }
        armTimer()
    }

    private func exhausted(_ reason: String) -> PostgresError {
        exhaustions += 1
        return PostgresError(.poolExhausted, "pool", "no connection: \(reason)")
    }

    private func error(_ refusal: PoolStateMachine.Refusal) -> PostgresError {
        switch refusal {
        case .queueFull:
            return exhausted("\(machine.waitingCount) callers wait already")
        case .down:
            let reason = keepers.lazy.compactMap(\.lastError).first?.message ?? "not connected yet"
            return PostgresError(.connection, "pool", "no connection: \(reason)")
        case .stopped: return PostgresError(.stopped, "pool", "the client was stopped")
        }
    }
}
