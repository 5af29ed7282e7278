internal import EventLoop

/// How one attempt at sending ended.
enum SendOutcome: Sendable, Hashable {
    /// The provider has it, under this id.
    case sent(providerTS: String)
    /// It surely was not sent; another attempt may succeed.
    case retry(reason: String)
    /// It was not sent because of a limit: nobody's fault, so no attempt is spent.
    case rateLimited(wait: Duration, reason: String)
    /// It will never be sent as it is.
    case failed(reason: String)
    /// The workspace's token or rights do not suffice: until that changes it sends nothing.
    case workspaceRefused(reason: String)
    /// It may or may not have been sent.
    case unknown(reason: String)
}

/// An outcome with what the record of the attempt shows beside it.
struct SendReport: Sendable, Hashable {
    /// What came of it.
    let outcome: SendOutcome
    /// The status of the provider's answer, when there was one.
    var httpStatus: Int?
    /// Nobody was there to talk to: surely not sent, and no fault of the message.
    var isOutage = false
    /// Why somebody should look at this; nil when nobody need.
    var attention: Attention?
}
