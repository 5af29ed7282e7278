/// What a person should look at, as the metric names it; there is an alert for each.
enum Attention: String, Sendable, CaseIterable {
    /// A workspace refuses its token.
    case workspaceRefused = "workspace_refused"
    /// The address that a workspace is configured with may not be called, or is none.
    case addressRefused = "address_refused"
    /// The provider says that we called it wrongly.
    case ourBug = "our_bug"
    /// The provider refuses a message for a reason that we do not know.
    case unknownAnswer = "unknown_answer"
    /// A token cannot be unsealed.
    case tokenDoesNotOpen = "token_does_not_open"
    /// A message stays unknown until a person has looked.
    case parked = "unknown_parked"
    /// A job stands for a request that is nowhere.
    case requestNowhere = "request_nowhere"
    /// A job has failed for good.
    case jobFailed = "job_failed"
}
