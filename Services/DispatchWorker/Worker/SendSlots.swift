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

    private let pacer: any Pacer
    private var forecast = SlotForecast()

    init(_ pacer: any Pacer) {
        self.pacer = pacer
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
        return forecast.wait(key, wait: wait, interval: interval, now: EventLoop.shared.now)
    }

    /// Reserves one look into the history.
    func reserveLook(_ message: ResolvedMessage) async throws(CoordinationError) -> Duration {
        guard message.channel.provider == .slack else { return .zero }
        return try await pacer.reserve(
            SendSlots.methodKey(message, "conversations.history"),
            interval: SendSlots.historyInterval,
            burst: 1
        )
    }

    /// Refuses the channel's slots for as long as the provider asked.
    func block(_ message: ResolvedMessage, for time: Duration) async throws(CoordinationError) {
        try await pacer.block(SendSlots.channelKey(message), for: time)
    }
}
