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

    /// Reserves the slots of one message; `.zero` when they are taken, else how long to wait.
    func reserve(_ message: ResolvedMessage) async throws(CoordinationError) -> Duration {
        if message.channel.provider == .slack {
            // The cheap one first: when the channel has to wait, this one is lost.
            let wait = try await pacer.reserve(
                SendSlots.methodKey(message, "chat.postMessage"),
                interval: SendSlots.workspaceInterval,
                burst: SendSlots.workspaceBurst
            )
            if wait > .zero { return wait }
        }
        let key = SendSlots.channelKey(message)
        let interval = Duration.microseconds(Int64(1_000_000 / message.channel.perSecond))
        let wait = try await pacer.reserve(key, interval: interval, burst: message.channel.burst)
        guard wait > .zero else { return .zero }
        // Urgent messages do not queue behind the places of the others.
        return forecast.wait(
            "\(key)|\(message.content.priority)",
            wait: wait,
            interval: interval,
            now: EventLoop.shared.now
        )
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
        )
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
