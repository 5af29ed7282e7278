internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import RedisClient
internal import Telemetry

/// Tells other instances that a conversation has news, and hears it from them.
///
/// A message in Redis carries nothing but that: the news are read from the database. One that is
/// lost costs the time until the next look (``LiveHub/pollInterval``), and nothing else.
@LoopActor
final class LiveWakeUps {
    /// How long announcements are collected before they leave together.
    static let collecting: Duration = .milliseconds(2)

    /// Called for each conversation that somebody announced.
    var onWake: (@LoopActor (LiveRoom) -> Void)?
    /// Called when announcements may have been missed.
    var onMissed: (@LoopActor () -> Void)?

    private let redis: RedisClient?
    private var subscriber: RedisSubscriber?
    private var waiting: Set<LiveRoom> = []
    private var sending: Task<Void, Never>?

    init(redis: RedisClient?, configuration: RedisConfiguration) {
        self.redis = redis
        guard redis != nil else { return }
        subscriber = RedisSubscriber(
            configuration,
            onResubscribed: { [weak self] in self?.onMissed?() }
        )
    }

    /// Whether what other instances announce is heard at this moment.
    var isListening: Bool { subscriber?.isConnected ?? false }

    /// Begins to listen; without Redis it does nothing, and the looks at the database go on.
    func start() async {
        do {
            try await subscriber?.start()
        } catch {
            Degradation.note("realtime_fanout")
        }
    }

    func stop() async {
        await sending?.value
        await subscriber?.stop()
    }

    /// Listens for a conversation.
    func listen(to room: LiveRoom) {
        do {
            try subscriber?.subscribe(.channel(channel(room))) { [weak self] _ in
                self?.onWake?(room)
            }
        } catch {
            // Above the limit of one subscriber the regular looks have to do.
            Degradation.note("realtime_fanout")
        }
    }

    /// Hears what other instances publish on a channel of its own kind, over the same connection.
    func hear(_ channel: String, _ body: @escaping @LoopActor (RedisMessage) -> Void) {
        do {
            try subscriber?.subscribe(.channel(channel), body)
        } catch {
            Degradation.note("realtime_fanout")
        }
    }

    /// Listens no more.
    func ignore(_ room: LiveRoom) {
        subscriber?.unsubscribe(.channel(channel(room)))
    }

    /// Tells the others, soon and together with what else is to be told.
    func announce(_ room: LiveRoom) {
        guard redis != nil else { return }
        waiting.insert(room)
        guard sending == nil else { return }
        sending = Task { await send() }
    }

    private func send() async {
        while !waiting.isEmpty {
            try? await EventLoop.shared.sleep(for: LiveWakeUps.collecting)
            let rooms = waiting
            waiting = []
            do {
                _ = try await redis?.pipeline(
                    rooms.map { ["PUBLISH", .string(channel($0)), ""] }
                )
            } catch {
                Degradation.note("realtime_fanout")
            }
        }
        sending = nil
    }

    private func channel(_ room: LiveRoom) -> String {
        "live:{\(room.tenant)}:\(room.conversation.text)"
    }
}
