internal import Coordination
internal import EventLoop

/// Carries messages to where they are read.
@LoopActor
protocol ChannelTransport: AnyObject {
    /// Sends once and says what is known of it; never tries again by itself.
    func send(_ message: ResolvedMessage, token: Secret?) async -> SendReport

    /// Looks whether a message whose sending ended without an answer is there.
    ///
    /// - Parameter since: seconds since 1970 before which it cannot have been sent.
    func find(_ message: ResolvedMessage, token: Secret?, since: Int64) async -> Finding
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
