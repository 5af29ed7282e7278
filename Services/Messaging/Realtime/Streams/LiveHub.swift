internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import Logging
internal import Telemetry

/// Sends what happens in conversations to those who follow them, in order and without a hole.
///
/// The log in the database is the only source: a wake-up, from this process or from Redis, says
/// where to look, and a regular look finds what no wake-up told of. So a client can go on at any
/// instance from the seq it has.
@LoopActor
final class LiveHub {
    /// How many events are read at once.
    static let pageSize = 100
    /// So many clients get an event before others have a turn on the loop.
    static let slice = 500
    /// How many conversations one look asks for.
    static let pollBatch = 500
    /// How many places of clients an instance keeps.
    static let subscriptionsMax = 20_000
    /// How long a client that is behind waits for a database that is away.
    static let retryPause: Duration = .milliseconds(500)

    private let log: EventLog
    private let wakeUps: LiveWakeUps
    private let pollInterval: Duration
    private let logger: Logger
    private var topics: [LiveRoom: LiveTopic] = [:]
    private var count = 0
    private var poller: Task<Void, Never>?
    private var isStopped = false
    private let delivered = PrometheusRegistry.shared.counter(
        "live_events_total",
        "Events sent to clients that follow conversations."
    )

    init(log: EventLog, wakeUps: LiveWakeUps, pollInterval: Duration, logger: Logger) {
        self.log = log
        self.wakeUps = wakeUps
        self.pollInterval = pollInterval
        self.logger = logger
        wakeUps.onWake = { [weak self] in self?.wake($0) }
        wakeUps.onMissed = { [weak self] in self?.wakeAll() }
        PrometheusRegistry.shared.sample(
            "live_subscriptions",
            "Conversations followed, counted once for each client."
        ) { [weak self] in (self?.count).map { Double($0) } }
    }

    func start() async {
        await wakeUps.start()
        poller = Task { await poll() }
    }

    func stop() async {
        isStopped = true
        poller?.cancel()
        await poller?.value
        await wakeUps.stop()
    }

    // MARK: Clients

    /// Follows a conversation from after `since`, or from now on.
    ///
    /// - Returns: the client's place, to be given to ``end(_:)`` when the client has gone; `nil`
    ///   when there is no such conversation.
    /// - Throws: a 503 when too many are followed.
    func follow(
        _ key: LiveKey,
        since: Int64?,
        _ client: any LiveClient
    ) async throws -> LiveSubscription? {
        guard let head = try await log.head(key) else { return nil }
        guard count < LiveHub.subscriptionsMax else {
            throw Problem.unavailable("too many conversations are followed here")
        }
        let topic = topic(key, head: head)
        let subscription = LiveSubscription(client, topic, cursor: since ?? head)
        topic.subscriptions[ObjectIdentifier(subscription)] = subscription
        count += 1
        if let since, since > head { subscription.resync(head: head) }
        subscription.catchUp = Task { await catchUp(subscription) }
        return subscription
    }

    /// Forgets a client's place.
    func end(_ subscription: LiveSubscription) {
        guard subscription.isOpen else { return }
        subscription.isOpen = false
        subscription.catchUp?.cancel()
        subscription.catchUp = nil
        count -= 1
        let topic = subscription.topic
        topic.subscriptions[ObjectIdentifier(subscription)] = nil
        guard topic.subscriptions.isEmpty, topics[topic.key.room] === topic else { return }
        topics[topic.key.room] = nil
        wakeUps.ignore(topic.key.room)
    }

    private func topic(_ key: LiveKey, head: Int64) -> LiveTopic {
        if let topic = topics[key.room] { return topic }
        let topic = LiveTopic(key, cursor: head)
        topics[key.room] = topic
        wakeUps.listen(to: key.room)
        return topic
    }

    /// The conversations that somebody follows here.
    var followed: [LiveKey] { topics.values.map(\.key) }

    /// Tells those who follow a conversation something that is kept nowhere.
    func broadcast(_ event: LiveEvent, to room: LiveRoom) {
        guard let topic = topics[room] else { return }
        for subscription in topic.subscriptions.values {
            subscription.client.deliver(event, of: topic.key)
        }
    }

    // MARK: News

    /// Something was committed in a conversation: this instance looks at once, others soon.
    func changed(_ room: LiveRoom) {
        wake(room)
        wakeUps.announce(room)
    }

    private func wake(_ room: LiveRoom) {
        guard let topic = topics[room] else { return }
        topic.isDirty = true
        guard topic.pump == nil else { return }
        topic.pump = Task {
            await pump(topic)
            topic.pump = nil
        }
    }

    private func wakeAll() {
        for room in topics.keys { wake(room) }
    }

    /// Reads what is new and gives it to all who are live.
    private func pump(_ topic: LiveTopic) async {
        while topic.isDirty, !topic.subscriptions.isEmpty {
            topic.isDirty = false
            do {
                guard
                    let page = try await log.events(
                        topic.key,
                        after: topic.cursor,
                        limit: LiveHub.pageSize
                    )
                else { return }
                if page.hasGap {
                    topic.cursor = page.head
                    for subscription in topic.subscriptions.values where subscription.isLive {
                        subscription.resync(head: page.head)
                    }
                    continue
                }
                for event in page.events { await distribute(event, topic) }
                if page.events.count == LiveHub.pageSize { topic.isDirty = true }
            } catch {
                // The next look finds it.
                logger.warning("live: the log was not read", metadata: ["reason": "\(error)"])
                return
            }
        }
    }

    private func distribute(_ event: LiveEvent, _ topic: LiveTopic) async {
        // First the cursor: who catches up meanwhile reads this event from the log.
        topic.cursor = event.seq ?? topic.cursor
        let live = topic.subscriptions.values.filter(\.isLive)
        for (index, subscription) in live.enumerated() {
            if index > 0, index.isMultiple(of: LiveHub.slice) {
                try? await EventLoop.shared.sleep(for: .zero)
            }
            subscription.deliver(event)
        }
        delivered.increment(by: Double(live.count))
    }

    /// Brings one client to where the others are, at its own pace.
    private func catchUp(_ subscription: LiveSubscription) async {
        let topic = subscription.topic
        while subscription.isOpen {
            guard subscription.cursor < topic.cursor else {
                subscription.isLive = true
                // What was committed before anybody listened is found at once, not at the next look.
                wake(topic.key.room)
                return
            }
            do {
                try await catchUpPage(subscription)
            } catch {
                try? await EventLoop.shared.sleep(for: LiveHub.retryPause)
            }
        }
    }

    private func catchUpPage(_ subscription: LiveSubscription) async throws {
        let page = try await log.events(
            subscription.topic.key,
            after: subscription.cursor,
            limit: LiveHub.pageSize
        )
        guard let page, !page.hasGap else {
            return subscription.resync(head: page?.head ?? subscription.topic.cursor)
        }
        for event in page.events {
            guard await subscription.client.waitForRoom() else { return }
            subscription.deliver(event)
            delivered.increment()
        }
    }

    // MARK: The regular look

    private func poll() async {
        while !isStopped {
            try? await EventLoop.shared.sleep(for: pollInterval)
            let keys = topics.values.map(\.key)
            for start in stride(from: 0, to: keys.count, by: LiveHub.pollBatch) {
                let batch = Array(keys[start..<min(start + LiveHub.pollBatch, keys.count)])
                guard let heads = try? await log.heads(batch) else { break }
                for key in batch {
                    guard let head = heads[key.conversation], let topic = topics[key.room],
                        head > topic.cursor
                    else { continue }
                    wake(key.room)
                }
            }
        }
    }
}
