/// What is done about a message of which nobody knows whether it was sent.
///
/// Pure: facts in, decision out.
enum UnknownDecision: Sendable, Hashable {
    /// It is there: done.
    case sent(providerTS: String)
    /// It was not seen; what the provider stored late would be seen by a second look.
    case lookAgain
    /// It is sent once more.
    case sendAgain(reason: String)
    /// Nobody can tell at the moment: the same look later.
    case later(reason: String)
    /// A person has to decide: nobody else can tell.
    case park(reason: String)
    /// A person has to decide: so says the policy.
    case leave

    /// A message of which looks have told nothing for so long is left to a person.
    static let looksLimit: Duration = .seconds(86_400)

    /// What the policy says before anybody looks; nil when it wants a look.
    static func before(_ policy: UnknownPolicy) -> UnknownDecision? {
        switch policy {
        case .park: .leave
        case .resend: .sendAgain(reason: "resent_by_policy")
        case .verify: nil
        }
    }

    /// What follows from a look.
    ///
    /// - Parameters:
    ///   - isSecond: whether an earlier look did not see it either.
    ///   - unknownFor: how long it has been unclear. Looks that could not be made do not count: who
    ///     could not be asked in one hour may answer in the next.
    static func after(
        _ finding: Finding,
        isSecond: Bool,
        unknownFor: Duration
    ) -> UnknownDecision {
        switch finding {
        case .found(let ts): .sent(providerTS: ts)
        case .absent: isSecond ? .sendAgain(reason: "not_found_at_the_provider") : .lookAgain
        case .later(let reason) where unknownFor < looksLimit: .later(reason: reason)
        case .later(let reason), .impossible(let reason): .park(reason: reason)
        }
    }
}
