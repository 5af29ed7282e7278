internal import Coordination
internal import EventLoop
internal import Telemetry

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

    /// The slots that a message needs.
    nonisolated static func slots(of message: ResolvedMessage) -> [RedisClaims.Slot] {
        let channel = RedisClaims.Slot(
            channelKey(message),
            interval: .microseconds(Int64(1_000_000 / message.channel.perSecond)),
            burst: message.channel.burst
        )
        guard message.channel.provider == .slack else { return [channel] }
        let workspace = RedisClaims.Slot(
            methodKey(message, "chat.postMessage"),
            interval: workspaceInterval,
            burst: workspaceBurst
        )
        return [workspace, channel]
    }

    /// How long a message waits among those that wait for `slot`, which is taken for `wait`; nil when
    /// all places are taken for as long as messages are placed ahead.
    func place(_ message: ResolvedMessage, _ slot: RedisClaims.Slot, _ wait: Duration) -> Duration?
    {
        // Urgent messages do not queue behind the places of the others.
        forecast.wait(
            "\(slot.key)|\(message.content.priority)",
            wait: wait,
            interval: slot.interval,
            now: EventLoop.shared.now
        )
    }

    /// Whether a message may be posted now whose slots were taken `delay` ago.
    ///
    /// The provider counts from what it gets. Where the delay is a good part of the time between two
    /// slots, the next one is as far from this moment as it was from the slot. Where it is all of it,
    /// the next slot may be another message's by now, and this one needs a slot of its own.
    func mayPost(_ message: ResolvedMessage, after delay: Duration) async -> Bool {
        for slot in SendSlots.slots(of: message) where slot.burst <= 1 && delay * 20 > slot.interval
        {
            do {
                if delay < slot.interval {
                    try await pacer.block(slot.key, for: slot.interval)
                } else if try await pacer.reserve(slot.key, interval: slot.interval, burst: 1)
                    > .zero
                {
                    return false
                }
            } catch {
                // The message is begun by now, and goes out.
                Degradation.note("dispatch_\(error.operation)")
            }
        }
        return true
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
