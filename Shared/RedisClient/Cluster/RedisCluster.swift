internal import EventLoop

/// The nodes of a cluster: one link to each that has slots, made when it has some and stopped when
/// it has none any more.
///
/// Which node has which slots is asked at the start, in intervals, when a node is lost, and when a
/// node says that it is another one.
@LoopActor
final class RedisCluster {
    /// How often a cluster in which all is well is asked for its slots.
    static let interval: Duration = .seconds(10)
    /// How often while a node is away or a slot has none: a replica may be appointed at any time.
    static let searchInterval: Duration = .milliseconds(250)
    /// The least time from one question to the next, whoever wants to know.
    static let pause: Duration = .milliseconds(50)
    /// How long a node without slots is kept after a command was sent there: it is being given some.
    static let kept: Duration = .seconds(30)

    /// Asks members for the slots; it keeps no connection.
    let guide: RedisLink
    private let observer: RedisObserver?
    private(set) var slots = ClusterSlots()
    private var links: [RedisConfiguration.Endpoint: RedisLink] = [:]
    /// When a command was last sent to a node on another's word.
    private var visited: [RedisConfiguration.Endpoint: MonotonicTime] = [:]
    /// What was counted on links that are no more.
    private var retired = RedisReadings()
    private var timer: LoopTimer?
    private var question: Task<Void, Never>?
    private var isStopped = true

    init(_ guide: RedisLink, observer: RedisObserver?) {
        self.guide = guide
        self.observer = observer
    }

    // MARK: Life

    /// Learns the slots, begins to connect to all nodes, and waits for each first attempt.
    func start() async throws(RedisError) {
        let configuration = guide.configuration
        precondition(configuration.mode != .disabled, "a disabled Redis is not connected to")
        if isConnected { return }
        isStopped = false
        let attempts: [Task<RedisError?, Never>]
        do throws(RedisError) {
            attempts = adopt(try await ask())
        } catch {
            lookAgain(after: RedisCluster.searchInterval)
            observer?(.attemptFailed(error, retryIn: RedisCluster.searchInterval))
            throw error
        }
        var failure: RedisError?
        for attempt in attempts { failure = await attempt.value ?? failure }
        lookAgain(after: pace)
        if let failure { throw failure }
    }

    /// Takes no more commands, waits for the answers that are due, and disconnects.
    func stop() async {
        isStopped = true
        if let timer { EventLoop.shared.cancel(timer) }
        timer = nil
        await question?.value
        let ending = links
        links = [:]
        for link in ending.values { retire(link) }
        for link in ending.values { await link.stop() }
    }

    /// Whether every key has a node that takes commands.
    var isConnected: Bool { slots.isComplete && away.isEmpty }

    /// The nodes that have slots and take no commands at this moment.
    var away: [RedisConfiguration.Endpoint] {
        slots.primaries.filter { links[$0]?.connection == nil }
    }

    /// What the servers told: the oldest version, the policy that loses most, the least memory.
    var server: RedisServerFacts? {
        links.values.compactMap(\.server).reduce(nil) { known, facts in
            known.map { $0.worst(with: facts) } ?? facts
        }
    }

    var readings: RedisReadings {
        links.values.reduce(retired + guide.readings) { $0 + $1.readings }
    }

    // MARK: Nodes

    /// The connection to a node; nil when there is none at this moment.
    func connection(to node: RedisConfiguration.Endpoint) -> RedisConnection? {
        links[node]?.connection
    }

    /// Any node that takes commands, the one of `slot` if it does.
    func anyNode(near slot: Int? = nil) -> RedisConfiguration.Endpoint? {
        if let slot, let owner = slots.owner(of: slot), connection(to: owner) != nil {
            return owner
        }
        return slots.primaries.first { connection(to: $0) != nil }
    }

    /// The connection to a node that another named, made now if there never was one.
    func visit(
        _ node: RedisConfiguration.Endpoint,
        until deadline: MonotonicTime
    ) async -> RedisConnection? {
        visited[node] = EventLoop.shared.now
        if links[node] == nil, !isStopped {
            let attempt = connect(node)
            let outcome = Promise<Void>()
            let timer = EventLoop.shared.schedule(at: deadline) { outcome.settle(.success(())) }
            // Beside the timer: whichever is first lets the command go on.
            Task {
                _ = await attempt.value
                outcome.settle(.success(()))
            }
            _ = await outcome.result
            EventLoop.shared.cancel(timer)
        }
        return connection(to: node)
    }

    /// A node said where a slot is; others may have moved too.
    func learn(_ slot: Int, at node: RedisConfiguration.Endpoint) {
        slots.move(slot, to: node)
        lookAgain(after: RedisCluster.pause)
    }

    private func connect(_ node: RedisConfiguration.Endpoint) -> Task<RedisError?, Never> {
        let link = RedisLink(guide.configuration.node(node)) { [weak self] in
            self?.noticed($0, at: node)
        }
        links[node] = link
        // The nodes are connected to at the same time, and who made them waits for none or all.
        return Task {
            do throws(RedisError) {
                try await link.start()
                return nil
            } catch {
                return error
            }
        }
    }

    private func noticed(_ event: RedisEvent, at node: RedisConfiguration.Endpoint) {
        switch event {
        case .connectionLost(let error, let pause):
            lookAgain(after: RedisCluster.pause)
            observer?(.connectionLost(error.at(node), retryIn: pause))
        case .attemptFailed, .connected, .deadlinePassed, .queueFull, .scriptReloaded,
            .filesRefused:
            observer?(event)
        }
    }

    private func retire(_ link: RedisLink) {
        var readings = link.readings
        readings.pending = 0
        retired = retired + readings
    }

    // MARK: Slots

    private func ask() async throws(RedisError) -> ClusterSlots {
        // Members that answer are asked first; the configured ones are the last resort.
        let known = slots.primaries.filter { connection(to: $0) != nil }
        let seeds = guide.configuration.directory?.members ?? []
        guide.directory = known + seeds.filter { !known.contains($0) }
        let deadline = MonotonicTime.now() + guide.configuration.attemptTimeout
        return try await guide.consult(until: deadline) { answer, member throws(RedisError) in
            try ClusterSlots(answer, of: member)
        }
    }

    /// - Returns: the first attempts to connect to nodes that are new.
    @discardableResult
    private func adopt(_ slots: ClusterSlots) -> [Task<RedisError?, Never>] {
        guard !isStopped else { return [] }
        self.slots = slots
        let now = EventLoop.shared.now
        visited = visited.filter { now - $0.value < RedisCluster.kept }
        for (node, link) in links where !slots.primaries.contains(node) {
            if visited[node] != nil, link.connection != nil { continue }
            links[node] = nil
            retire(link)
            // It answers what it owes; the new slots hold from now on.
            Task { await link.stop() }
        }
        return slots.primaries.filter { links[$0] == nil }.map(connect)
    }

    private var pace: Duration {
        isConnected ? RedisCluster.interval : RedisCluster.searchInterval
    }

    /// Asks for the slots after `delay`, unless that is due before.
    private func lookAgain(after delay: Duration) {
        guard !isStopped, question == nil else { return }
        let time = EventLoop.shared.now + delay
        if let timer {
            guard time < timer.deadline else { return }
            EventLoop.shared.cancel(timer)
        }
        timer = EventLoop.shared.schedule(at: time) { [weak self] in self?.look() }
    }

    private func look() {
        timer = nil
        // One at a time, and waited for at the stop.
        question = Task {
            // While nobody answers, what was known is as good as anything.
            if let slots = try? await ask() { adopt(slots) }
            question = nil
            lookAgain(after: pace)
        }
    }
}
