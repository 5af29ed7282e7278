internal import Coordination
internal import EventLoop

/// The provider's limits: one key per channel, one per workspace and method.
@LoopActor
final class SendSlots {
    /// What a workspace takes of one method, over all its channels.
    nonisolated static let workspaceInterval: Duration = .milliseconds(50)
    nonisolated static let workspaceBurst = 20
    /// Looks into a history: 50 a minute.
    nonisolated static let historyInterval: Duration = .milliseconds(1200)

    /// So many channels limited within ``strikesWindow`` mean that the whole workspace is.
    nonisolated static let strikesLimit = 3
    nonisolated static let strikesWindow: Duration = .seconds(10)

    private let pacer: any Pacer
    private let strikes: any RateLimiter
    private var forecast = SlotForecast()

    /// - Parameter strikes: counts the channels that were limited.
    init(_ pacer: any Pacer, strikes: any RateLimiter) {
        self.pacer = pacer
        self.strikes = strikes
    }

    nonisolated static func channelKey(_ message: ResolvedMessage) -> String {
        let channel = message.channel
        return "rl:{\(message.job.tenant)}:\(channel.provider.rawValue):\(channel.workspaceCode)"
            + ":ch:\(channel.providerChannelID)"
    }

    nonisolated static func methodKey(_ message: ResolvedMessage, _ method: String) -> String {
        let channel = message.channel
        return "rl:{\(message.job.tenant)}:\(channel.provider.rawValue):\(channel.workspaceCode)"
            + ":m:\(method)"
    }

    /// What came of asking for a slot.
    enum Slot: Sendable, Hashable {
        case ours
        /// Ask again after this long.
        case later(Duration)
        /// All places of the channel are taken for as long as messages are placed ahead.
        case crowded
    }

    /// Reserves the slots of one message.
    func reserve(_ message: ResolvedMessage) async throws(CoordinationError) -> Slot {
        if message.channel.provider == .slack {
            // The cheap one first: when the channel has to wait, this one is lost.
            let key = SendSlots.methodKey(message, "chat.postMessage")
            let interval = SendSlots.workspaceInterval
            let wait = try await pacer.reserve(
                key,
                interval: interval,
                burst: SendSlots.workspaceBurst
            )
            if wait > .zero { return place(message, key, wait, interval) }
        }
        let key = SendSlots.channelKey(message)
        let interval = Duration.microseconds(Int64(1_000_000 / message.channel.perSecond))
        let wait = try await pacer.reserve(key, interval: interval, burst: message.channel.burst)
        return wait > .zero ? place(message, key, wait, interval) : .ours
    }

    /// Where a message stands among those that wait for a slot of `key`.
    private func place(
        _ message: ResolvedMessage,
        _ key: String,
        _ wait: Duration,
        _ interval: Duration
    ) -> Slot {
        // Urgent messages do not queue behind the places of the others.
        let place = forecast.wait(
            "\(key)|\(message.content.priority)",
            wait: wait,
            interval: interval,
            now: EventLoop.shared.now
        )
        return place.map { .later($0) } ?? .crowded
    }

    /// Reserves one look into the history.
    func reserveLook(_ message: ResolvedMessage) async throws(CoordinationError) -> Duration {
        guard message.channel.provider == .slack else { return .zero }
        let key = SendSlots.methodKey(message, "conversations.history")
        let wait = try await pacer.reserve(key, interval: SendSlots.historyInterval, burst: 1)
        guard wait > .zero else { return .zero }
        return forecast.wait(
            key,
            wait: wait,
            interval: SendSlots.historyInterval,
            now: EventLoop.shared.now
        ) ?? SlotForecast.horizon
    }

    /// Refuses looks into the workspace's histories for as long as the provider asked.
    func blockLooks(
        _ message: ResolvedMessage,
        for time: Duration
    ) async throws(CoordinationError) {
        try await pacer.block(SendSlots.methodKey(message, "conversations.history"), for: time)
    }

    /// Refuses the channel's slots for as long as the provider asked; the workspace's as well, once
    /// that happened to several of its channels.
    func block(_ message: ResolvedMessage, for time: Duration) async throws(CoordinationError) {
        let channel = SendSlots.channelKey(message)
        try await pacer.block(channel, for: time)
        let verdict = try await strikes.admit(
            SendSlots.methodKey(message, "strikes"),
            member: channel,
            limit: SendSlots.strikesLimit - 1,
            window: SendSlots.strikesWindow
        )
        guard !verdict.admitted else { return }
        try await pacer.block(SendSlots.methodKey(message, "chat.postMessage"), for: time)
    }
}
