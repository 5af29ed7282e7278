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

    /// Reads the members of a request's document.
    init(_ document: JSON) {
        text = document["text"]?.stringValue
        blocks = document["blocks"].flatMap(\.present)
        threadTS = document["thread_ts"]?.stringValue
        templateCode = document["template"]?["code"]?.stringValue
        priority = Int(document["priority"]?.intValue ?? 2)
    }
}

/// How a channel is configured at the time of sending.
struct ChannelConfiguration: Sendable {
    let workspaceCode: String
    let provider: Provider
    /// The workspace's id at the provider, where that is known.
    let teamID: String?
    let baseURL: String?
    /// Why nothing is sent now: the scope and the reason of a pause.
    let pause: String?
    /// How long its quiet hours still last; nil outside of them.
    let quiet: Duration?
    let providerChannelID: String
    let policy: UnknownPolicy
    let perSecond: Double
    let burst: Int
    let sealedToken: SealedSecret?

    /// Reads what `dispatch.resolve_many` answered of it; nil when it is null.
    init?(_ document: JSON) {
        guard let workspace = document["workspace_code"]?.stringValue,
            let provider = document["provider"]?.stringValue.flatMap(Provider.init(rawValue:)),
            let channel = document["provider_channel_id"]?.stringValue,
            let policy = document["unknown_policy"]?.stringValue
                .flatMap(UnknownPolicy.init(rawValue:))
        else { return nil }
        workspaceCode = workspace
        self.provider = provider
        providerChannelID = channel
        self.policy = policy
        teamID = document["team_id"]?.stringValue
        baseURL = document["api_base_url"]?.stringValue
        pause = document["pause"]?["reason"]?.stringValue.map {
            "\(document["pause"]?["scope"]?.stringValue ?? "")_paused: \($0)"
        }
        quiet = document["quiet_ms"]?.intValue.map { .milliseconds($0) }
        perSecond = document["rate_per_second"]?.doubleValue ?? 1
        burst = Int(document["rate_burst"]?.intValue ?? 1)
        // PostgreSQL breaks base64 into lines.
        let lines = document["token_sealed"]?.stringValue?.filter { !$0.isNewline }
        if let keyID = document["token_key_id"]?.stringValue,
            let bytes = lines.flatMap({ Data(base64Encoded: $0) })
        {
            sealedToken = SealedSecret(keyID: keyID, bytes: Array(bytes))
        } else {
            sealedToken = nil
        }
    }

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
