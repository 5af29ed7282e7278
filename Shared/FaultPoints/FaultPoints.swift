internal import EventLoop
internal import FoundationEssentials
internal import Glibc
internal import Synchronization

/// Places in the code where a test can let the process die, hang or fail.
///
/// A place that matters says `try await FaultPoints.reached("dispatch.before_send")`. That does
/// nothing unless the environment variable `SWITCHBOARD_FAULT` was set when the process began:
///
///     SWITCHBOARD_FAULT=dispatch.before_send:2:die
///
/// means: when that place is reached for the second time, kill the process. The name `*` counts all
/// places together, so that raising the count until a run ends unharmed has tried every one. The
/// fault happens once, and standard error says where. What can happen:
///
/// - `die`: SIGKILL, as the kernel or an operator would; nothing is flushed or closed.
/// - `hang`: SIGSTOP; the whole process stands still until SIGCONT, then goes on.
/// - `error`: ``InjectedFault`` is thrown.
///
/// A malformed value ends the process at the first place: a test that injects nothing proves nothing.
public enum FaultPoints {
    /// The environment variable that holds the plan.
    public static let variable = "SWITCHBOARD_FAULT"

    private static let isArmed = plan != nil

    private static let plan: FaultPlan? = {
        guard let text = ProcessInfo.processInfo.environment[variable], !text.isEmpty else {
            return nil
        }
        guard let plan = FaultPlan(text) else {
            preconditionFailure("\(variable) is not name:count:die|hang|error but \(text)")
        }
        return plan
    }()

    private static let seen = Atomic<Int>(0)

    /// Says that a place was reached; free of cost unless a plan was set.
    ///
    /// - Throws: ``InjectedFault`` when the plan says so.
    public static func reached(_ name: StaticString) async throws(InjectedFault) {
        guard isArmed else { return }
        try follow(name.description)
    }

    private static func follow(_ name: String) throws(InjectedFault) {
        guard let plan, plan.matches(name),
            seen.add(1, ordering: .relaxed).newValue == plan.count
        else { return }
        ProcessExit.lastWords("fault point \(name): \(plan.effect.rawValue)")
        switch plan.effect {
        case .die: kill(getpid(), SIGKILL)
        case .hang: kill(getpid(), SIGSTOP)
        case .error: throw InjectedFault(name: name)
        }
    }
}

/// The error that a fault point throws on request.
public struct InjectedFault: Error, Sendable, Hashable {
    /// The place that was reached.
    public let name: String
}

/// What ``FaultPoints/variable`` asks for.
struct FaultPlan: Hashable {
    enum Effect: String {
        case die
        case hang
        case error
    }

    let name: String
    let count: Int
    let effect: Effect

    init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, let count = Int(parts[1]), count > 0,
            let effect = Effect(rawValue: String(parts[2]))
        else { return nil }
        name = String(parts[0])
        self.count = count
        self.effect = effect
    }

    func matches(_ reached: String) -> Bool { name == "*" || name == reached }
}
