internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Telemetry

/// At most so many assignments of a room in a window (`rate_limit:room:<conversation>`).
///
/// Without Redis it is open, and says so: a message must not wait for a counter.
@LoopActor
struct RoomLimiter {
    let limiter: (any RateLimiter)?
    let limit: Int
    let window: Duration

    /// How long an assignment must wait.
    ///
    /// `nil` when it may go on. `member` is what is counted: a repeat of it costs nothing.
    func delay(conversation: UUID, member: String) async -> Duration? {
        guard let limiter else {
            Degradation.note("rate_limit")
            return nil
        }
        do {
            let verdict = try await limiter.admit(
                "rate_limit:room:\(conversation.text)",
                member: member,
                limit: limit,
                window: window
            )
            return verdict.admitted ? nil : max(verdict.retryAfter, .milliseconds(1))
        } catch {
            Degradation.note("rate_limit")
            return nil
        }
    }
}
