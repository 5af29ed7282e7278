internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import PostgresClient
internal import Telemetry

/// At most so many assignments of a room in a window (`rate_limit:room:<conversation>`).
///
/// Without Redis it is open, and says so, unless the policy is another. What took a place
/// for nothing gives it back, so that repeats and refusals cost a room nothing; a process that dies
/// in between leaves the place taken for a window, never the other way round.
@LoopActor
struct RoomLimiter {
    /// What is committed later than this after it was let in counts from its commit.
    static let lateAfter: Duration = .milliseconds(100)
    /// How long an assignment waits that is not to be made without Redis.
    static let refusedFor: Duration = .seconds(5)

    let limiter: (any RateLimiter)?
    let limit: Int
    let window: Duration
    var policy = RedisPolicy.proceed

    /// What the limit said of an assignment.
    enum Admission: Sendable {
        /// There is no limit to ask.
        case open
        /// It must wait so long.
        case later(Duration)
        /// It is counted.
        case counted(Place)

        /// How long it must wait; nil when it may go on.
        var delay: Duration? {
            if case .later(let delay) = self { delay } else { nil }
        }
    }

    /// A place among the assignments of a room.
    struct Place: Sendable {
        fileprivate let key: String
        fileprivate let member: String
        fileprivate let place: RatePlace
        fileprivate let since: MonotonicTime
    }

    /// What a place turned out to be for.
    enum Use: Sendable {
        /// An assignment was committed.
        case assigned
        /// Nothing was written: a repeat, a refusal, a failure before the commit.
        case nothing
        /// Nobody knows whether it was.
        case unknown

        /// What it was for a message that was to be stored.
        init(posted result: Result<Outcome, any Error>) {
            self =
                switch result {
                case .success(let outcome): outcome.name == "created" ? .assigned : .nothing
                case .failure(let error as PostgresError):
                    error.outcomeUnknown ? .unknown : .nothing
                case .failure(is Problem): .nothing
                case .failure: .unknown
                }
        }
    }

    /// Counts an assignment of `member` in a room, if there is a place.
    func admit(conversation: UUID, member: String) async -> Admission {
        guard let limiter else { return without() }
        let key = "rate_limit:room:\(conversation.text)"
        do {
            let verdict = try await limiter.admit(
                key,
                member: member,
                limit: limit,
                window: window
            )
            guard verdict.admitted else {
                return .later(max(verdict.retryAfter, .milliseconds(1)))
            }
            guard let place = verdict.place else { return .open }
            return .counted(Place(key: key, member: member, place: place, since: .now()))
        } catch {
            return without()
        }
    }

    private func without() -> Admission {
        Degradation.note("rate_limit")
        return policy == .proceed ? .open : .later(RoomLimiter.refusedFor)
    }

    /// Says what an admission was for; nobody waits for what follows from that.
    ///
    /// An assignment that was committed in time needs nothing.
    func settle(_ admission: Admission, _ use: Use) {
        guard case .counted(let place) = admission, let limiter else { return }
        switch use {
        case .unknown: return
        case .assigned where MonotonicTime.now() - place.since < RoomLimiter.lateAfter: return
        case .assigned, .nothing: break
        }
        Task {
            do {
                if case .nothing = use {
                    try await limiter.giveBack(
                        place.key,
                        member: place.member,
                        place.place,
                        window: window
                    )
                } else {
                    try await limiter.putOff(place.key, member: place.member, window: window)
                }
            } catch {
                Degradation.note("rate_limit")
            }
        }
    }
}
