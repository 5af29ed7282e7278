public import EventLoop

/// A connection of its own for publish and subscribe.
///
/// Subscriptions are wishes: they hold over losses, and the subscriber tells the server anew after
/// each. Messages published meanwhile are lost (Redis keeps none), which `onResubscribed` is for.
@LoopActor
public final class RedisSubscriber {
    /// Takes a message; runs on the loop and must not wait.
    public typealias Handler = @LoopActor (RedisMessage) -> Void

    /// How many subscriptions one subscriber holds.
    public static let subscriptionLimit = 10_000

    private let link: RedisLink
    private let onResubscribed: (@LoopActor () -> Void)?
    private var table = SubscriptionTable<Handler>()
    private var waiters: [Int: Waiter] = [:]
    private var sequence = 0

    private struct Waiter {
        let subscription: RedisSubscription
        let continuation: CheckedContinuation<Bool, Never>
        let timer: LoopTimer
    }

    /// A subscriber to the server that `configuration` names; it does nothing before ``start()``.
    ///
    /// - Parameter onResubscribed: called when all subscriptions hold again after a loss.
    public init(
        _ configuration: RedisConfiguration,
        observer: RedisObserver? = nil,
        onResubscribed: (@LoopActor () -> Void)? = nil
    ) {
        link = RedisLink(configuration, observer: observer)
        self.onResubscribed = onResubscribed
        link.onReady = { [weak self] in self?.adopt($0) }
    }

    /// Begins to connect and waits for the outcome of the first attempt.
    ///
    /// - Throws: why that attempt failed; it goes on trying until ``stop()``.
    public func start() async throws(RedisError) { try await link.start() }

    /// Disconnects; the wishes stay.
    public func stop() async { await link.stop(isGraceful: false) }

    /// Whether messages can come at this moment.
    public var isConnected: Bool { link.connection != nil }

    /// What was counted.
    public var readings: RedisReadings { link.readings }

    /// Listens from now on, or from the next connection on; a second handler replaces the first.
    ///
    /// - Throws: ``RedisError/Code/queueFull`` above ``subscriptionLimit``.
    public func subscribe(
        _ subscription: RedisSubscription,
        _ handler: @escaping Handler
    ) throws(RedisError) {
        guard
            table.count < RedisSubscriber.subscriptionLimit
                || table.handler(of: subscription) != nil
        else {
            link.meter.note(.queueFull(command: "SUBSCRIBE"))
            throw RedisError(
                .queueFull,
                command: "SUBSCRIBE",
                message: "\(table.count) subscriptions are held already"
            )
        }
        if table.want(subscription, handler) { link.connection?.push(subscription.subscribing) }
    }

    /// Listens no more.
    public func unsubscribe(_ subscription: RedisSubscription) {
        if table.drop(subscription) { link.connection?.push(subscription.unsubscribing) }
        noteIfRestored()
    }

    /// Waits until the server has confirmed a subscription: what is published from then on comes.
    ///
    /// - Throws: ``RedisError/Code/deadline`` when `limit` passes before; the wish stays.
    public func confirmed(
        _ subscription: RedisSubscription,
        within limit: Duration = .seconds(1)
    ) async throws(RedisError) {
        if table.isConfirmed(subscription) { return }
        sequence += 1
        let ticket = sequence
        let isConfirmed = await withCheckedContinuation { continuation in
            let timer = EventLoop.shared.schedule(after: limit) { [weak self] in
                self?.settle(ticket, isConfirmed: false)
            }
            waiters[ticket] = Waiter(
                subscription: subscription,
                continuation: continuation,
                timer: timer
            )
        }
        guard isConfirmed else {
            throw RedisError(.deadline, command: "SUBSCRIBE", message: "not confirmed in time")
        }
    }

    private func settle(_ ticket: Int, isConfirmed: Bool) {
        guard let waiter = waiters.removeValue(forKey: ticket) else { return }
        EventLoop.shared.cancel(waiter.timer)
        waiter.continuation.resume(returning: isConfirmed)
    }

    // MARK: Connection

    private func adopt(_ connection: RedisConnection) {
        table.lose()
        connection.onPush = { [weak self] in self?.take($0) }
        connection.onIdle = { [weak self, weak connection] in
            guard let self, let connection else { return }
            probe(connection)
        }
        for subscription in table.wanted { connection.push(subscription.subscribing) }
        noteIfRestored()
    }

    /// Subscribing again is harmless and is answered, and a server that forgot learns of it.
    private func probe(_ connection: RedisConnection) {
        guard let subscription = table.anyWanted else {
            connection.ping()
            return
        }
        connection.push(subscription.subscribing)
    }

    private func take(_ value: RedisValue) {
        switch RedisPush(value) {
        case .message(let message): table.handler(of: message.subscription)?(message)
        case .subscribed(let subscription):
            table.confirm(subscription)
            for (ticket, waiter) in waiters where waiter.subscription == subscription {
                settle(ticket, isConfirmed: true)
            }
            noteIfRestored()
        case .unsubscribed, nil: break
        }
    }

    private func noteIfRestored() {
        if table.takeRestored() { onResubscribed?() }
    }
}
