/// What is wanted, and what the server has confirmed on the present connection.
struct SubscriptionTable<Handler> {
    private var handlers: [RedisSubscription: Handler] = [:]
    private var confirmed: Set<RedisSubscription> = []
    private var isRestoring = false

    var count: Int { handlers.count }
    var wanted: [RedisSubscription] { Array(handlers.keys) }
    var anyWanted: RedisSubscription? { handlers.keys.first }

    func handler(of subscription: RedisSubscription) -> Handler? { handlers[subscription] }
    func isConfirmed(_ subscription: RedisSubscription) -> Bool { confirmed.contains(subscription) }

    /// Wants it, or hands it to another handler.
    ///
    /// - Returns: whether it is new, so that the server must be told.
    mutating func want(_ subscription: RedisSubscription, _ handler: Handler) -> Bool {
        handlers.updateValue(handler, forKey: subscription) == nil
    }

    /// Wants it no more.
    ///
    /// - Returns: whether it was wanted, so that the server must be told.
    mutating func drop(_ subscription: RedisSubscription) -> Bool {
        confirmed.remove(subscription)
        return handlers.removeValue(forKey: subscription) != nil
    }

    mutating func confirm(_ subscription: RedisSubscription) {
        if handlers[subscription] != nil { confirmed.insert(subscription) }
    }

    /// The connection is gone, and with it all that the server knew.
    mutating func lose() {
        if !confirmed.isEmpty { isRestoring = true }
        confirmed = []
    }

    /// Whether everything is confirmed again after a loss; true once per loss.
    mutating func takeRestored() -> Bool {
        guard isRestoring, confirmed.count == handlers.count else { return false }
        isRestoring = false
        return true
    }
}
