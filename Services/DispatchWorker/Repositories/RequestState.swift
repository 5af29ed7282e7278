internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import PostgresClient
internal import Tracing

/// A request and how its channel is configured now, as `dispatch.resolve_many` has them.
struct RequestState: Sendable {
    let generation: Int
    let status: String
    let channelCode: String
    /// Until it is due; negative once it is.
    let due: Duration
    /// How long it should wait for its thread.
    let threadWait: Duration
    let hasThread: Bool
    let trace: TraceParent?
    /// Nil when there is no such channel.
    let channel: ChannelConfiguration?
    /// Nil when it was not asked for.
    let content: MessageContent?

    /// Reads a row; nil when there is no such request.
    init?(_ row: PostgresRow, hasContent: Bool) throws {
        guard let generation = try row.optionalInt("generation") else { return nil }
        self.generation = generation
        status = try row.string("status")
        channelCode = try row.string("channel_code")
        due = .milliseconds(try row.int64("due_ms"))
        threadWait = .milliseconds(try row.int64("thread_ms"))
        hasThread = try row.bool("has_thread")
        trace = try row.optionalString("traceparent").flatMap { TraceParent(text: $0) }
        channel = try ChannelConfiguration(row)
        content = hasContent ? try MessageContent(row) : nil
    }
}

/// A request of which nobody knows whether it was sent, as `dispatch.unknown_request` has it.
struct UnknownRequest: Sendable {
    let generation: Int
    let channelCode: String
    let policy: UnknownPolicy
    /// That of the attempt which nobody knows the end of.
    let attemptToken: UUID?
    /// Seconds since 1970 before which it cannot have been sent.
    let begun: Int64
    let unknownFor: Duration
    /// Why nobody can look any more where it went.
    let gone: String?
    /// Where it went, with the token that is in force there now; nil when that is not known.
    let target: ChannelConfiguration?
    let threadTS: String?

    /// Reads a row; nil when its policy is not known here.
    init?(_ row: PostgresRow) throws {
        guard let policy = UnknownPolicy(rawValue: try row.string("unknown_policy")) else {
            return nil
        }
        self.policy = policy
        generation = try row.int("generation")
        channelCode = try row.string("channel_code")
        attemptToken = try row.optionalUUID("attempt_token")
        begun = try row.optionalInt64("begun_s") ?? 0
        unknownFor = .milliseconds(try row.optionalInt64("unknown_ms") ?? 0)
        gone = try row.optionalString("gone")
        target = try ChannelConfiguration(row)
        threadTS = try row.optionalString("thread_ts")
    }
}

extension ResolvedMessage {
    /// What was sent by an attempt that nobody knows the end of, so far as a look for it needs that;
    /// nil when it is not known where it went.
    init?(_ job: MessageReference, _ request: UnknownRequest) {
        guard let target = request.target else { return nil }
        let content = MessageContent(
            text: nil,
            blocks: nil,
            threadTS: request.threadTS,
            templateCode: nil,
            priority: 2
        )
        self.init(job: job, content: content, channel: target)
    }
}

extension MessageContent {
    /// Reads the members of a request's document.
    init(_ document: JSON) {
        text = document["text"]?.stringValue
        blocks = document["blocks"].flatMap(\.present)
        threadTS = document["thread_ts"]?.stringValue
        templateCode = document["template"]?["code"]?.stringValue
        priority = Int(document["priority"]?.intValue ?? 2)
    }

    /// Reads what `dispatch.resolve_many` answered of it.
    init(_ row: PostgresRow) throws {
        text = try row.optionalString("text")
        blocks = try row.optionalUTF8("blocks").map { try JSON(parsing: $0, limits: .foreign) }
        threadTS = try row.optionalString("thread_ts")
        templateCode = try row.optionalString("template_code")
        priority = try row.int("priority")
    }
}

extension ChannelConfiguration {
    /// Reads what `dispatch.resolve_many` or `dispatch.unknown_request` answered of it; nil when it is
    /// null, or of a kind that is not known here.
    init?(_ row: PostgresRow) throws {
        guard let workspace = try row.optionalString("workspace_code"),
            let provider = try row.optionalString("provider").flatMap(Provider.init(rawValue:)),
            let policy = UnknownPolicy(rawValue: try row.string("unknown_policy"))
        else { return nil }
        workspaceCode = workspace
        self.provider = provider
        self.policy = policy
        providerChannelID = try row.string("provider_channel_id")
        teamID = try row.optionalString("team_id")
        baseURL = try row.optionalString("api_base_url")
        if let scope = try row.optionalString("pause_scope") {
            pause = "\(scope)_paused: \(try row.string("pause_reason"))"
        }
        quiet = try row.optionalInt64("quiet_ms").map { .milliseconds($0) }
        perSecond = try row.optionalDouble("rate_per_second") ?? 1
        burst = try row.optionalInt("rate_burst") ?? 1
        if let keyID = try row.optionalString("token_key_id") {
            sealedToken = SealedSecret(keyID: keyID, bytes: try row.bytes("token_sealed"))
        }
    }
}
