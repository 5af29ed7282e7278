internal import Coordination
internal import EventLoop

/// Carries messages to where they are read.
@LoopActor
protocol ChannelTransport: AnyObject {
    /// Sends once and says what is known of it; never tries again by itself.
    func send(_ message: ResolvedMessage, token: Secret?) async -> SendReport

    /// Looks which messages of ours are where a message whose sending ended without an answer would
    /// be.
    ///
    /// - Parameter since: seconds since 1970 before which it cannot have been sent.
    func look(_ message: ResolvedMessage, token: Secret?, since: Int64) async -> Sightings
}

/// What a look saw.
enum Sightings: Sendable, Hashable {
    /// Our messages by ``MessageReference/mark``, with the provider's ids; all that were there since.
    case seen([String: String])
    /// Nobody can tell at the moment.
    case later(reason: String)
    /// The provider wants to be asked again after this long.
    case limited(wait: Duration)
    /// Nobody will be able to tell.
    case impossible(reason: String)

    /// What it says of one message.
    func finding(of job: MessageReference) -> Finding {
        switch self {
        case .seen(let marks): marks[job.mark].map { .found(providerTS: $0) } ?? .absent
        case .later(let reason): .later(reason: reason)
        case .limited: .later(reason: "ratelimited")
        case .impossible(let reason): .impossible(reason: reason)
        }
    }
}

/// What a look for a message found.
enum Finding: Sendable, Hashable {
    /// It is there, under this id.
    case found(providerTS: String)
    /// It is not there now; it may still appear shortly.
    case absent
    /// Nobody can tell at the moment.
    case later(reason: String)
    /// Nobody will be able to tell.
    case impossible(reason: String)
}
