internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging

/// Tells those who follow a conversation who came and who went (`presence.joined`,
/// `presence.left`).
///
/// Each instance looks for its own clients, so nobody has to tell anybody, and an instance that dies
/// takes no knowledge with it.
@LoopActor
final class PresenceWatch {
    /// How many conversations one look asks for.
    static let batch = 500
    /// The longest time between two looks.
    static let intervalMax: Duration = .seconds(5)

    private let hub: LiveHub
    private let sessions: UserSessionService
    private let presence: PresenceService
    private let grace: Duration
    private let logger: Logger
    private var known: [LiveRoom: PresenceDebounce] = [:]
    private lazy var looks = RepeatedWork(
        every: min(PresenceWatch.intervalMax, max(grace / 4, .milliseconds(50)))
    ) { [weak self] in await self?.pass() }

    /// - Parameter grace: how long a change must hold before it is told.
    init(
        hub: LiveHub,
        sessions: UserSessionService,
        presence: PresenceService,
        grace: Duration,
        logger: Logger
    ) {
        self.hub = hub
        self.sessions = sessions
        self.presence = presence
        self.grace = grace
        self.logger = logger
    }

    func start() { looks.start() }

    func stop() async { await looks.end() }

    private func pass() async {
        let keys = hub.followed
        let rooms = Set(keys.map(\.room))
        known = known.filter { rooms.contains($0.key) }
        for start in stride(from: 0, to: keys.count, by: PresenceWatch.batch) {
            do {
                try await look(
                    Array(keys[start..<min(start + PresenceWatch.batch, keys.count)])
                )
            } catch {
                logger.warning("presence: the look failed", metadata: ["reason": "\(error)"])
            }
        }
    }

    private func look(_ keys: [LiveKey]) async throws {
        let connections = try await sessions.sessions(in: keys)
        for key in keys {
            let users = await presence.present(
                key.room.tenant,
                among: connections[key.conversation] ?? []
            )
            let present = Set(users.keys)
            guard var debounce = known[key.room] else {
                known[key.room] = PresenceDebounce(present: present)
                continue
            }
            let changes = debounce.observe(present, now: EventLoop.shared.now, grace: grace)
            known[key.room] = debounce
            for change in changes { hub.broadcast(PresenceWatch.event(change, key), to: key.room) }
        }
    }

    private static func event(_ change: PresenceDebounce.Change, _ key: LiveKey) -> LiveEvent {
        let type = change.isPresent ? "presence.joined" : "presence.left"
        let document: JSON = [
            "seq": .null, "conversation_id": .string(key.conversation.text),
            "type": .string(type), "data": ["user_id": .string(change.user)],
            "at": .string(RFC3339.string(WallClock.milliseconds())),
        ]
        return LiveEvent(seq: nil, type: type, body: document.serialized())
    }
}
