internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Tracing

/// Which request, and which generation of it: nothing of its content, no secret.
struct MessageReference: Sendable, Hashable {
    let tenantID: UUID
    let tenant: String
    let messageRequestID: UUID
    let generation: Int
    let channelCode: String

    /// How a message says whose it is: the request's id and its generation.
    var mark: String { "\(messageRequestID.uuidString.lowercased()).\(generation)" }

    /// How the log says whose a line is.
    func logged(_ more: Logger.Metadata) -> Logger.Metadata {
        more.merging([
            "tenant": "\(tenant)", "message_request_id": "\(messageRequestID.text)",
        ]) { own, _ in own }
    }
}

/// What is said to the provider, as it was accepted.
struct MessageContent: Sendable, Hashable {
    let text: String?
    let blocks: JSON?
    /// Where it goes: the thread that was named, or the root of its key once that is known.
    var threadTS: String?
    let templateCode: String?
    /// 0 is the most urgent.
    let priority: Int
}

/// How a channel is configured at the time of sending.
struct ChannelConfiguration: Sendable {
    let workspaceCode: String
    let provider: Provider
    let providerChannelID: String
    let policy: UnknownPolicy
    let perSecond: Double
    let burst: Int
    /// The workspace's id at the provider, where that is known.
    var teamID: String?
    var baseURL: String?
    /// Why nothing is sent now: the scope and the reason of a pause.
    var pause: String?
    /// How long its quiet hours still last; nil outside of them.
    var quiet: Duration?
    var sealedToken: SealedSecret?

    /// Where a message goes that is sent now, as the commit before its first byte notes it.
    var target: JSON {
        [
            "provider": .string(provider.rawValue), "workspace_code": .string(workspaceCode),
            "team_id": JSON(teamID), "api_base_url": JSON(baseURL),
            "provider_channel_id": .string(providerChannelID),
        ]
    }
}

/// Everything that one send needs.
struct ResolvedMessage: Sendable {
    let job: MessageReference
    var content: MessageContent
    let channel: ChannelConfiguration
    /// Whether others of its thread may wait for its end.
    var hasThread = false
    /// The step that accepted it.
    var trace: TraceParent?
    /// Since when it has been due.
    var due = MonotonicTime.now()
}

extension JSON {
    /// The value unless it is null. (`nil` alone would be JSON's null here.)
    var present: JSON? { isNull ? Optional.none : Optional.some(self) }
}
