internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import RedisClient

/// The two locks that save double work: one on dispatching a request, one on sending it.
///
/// They prove nothing: the states in PostgreSQL decide. When Redis is away both refuse (the work
/// stays where it is), and a send lock whose owner died is taken over once the lease of an attempt
/// would have run out.
@LoopActor
struct DispatchIdempotencyService {
    /// How long a dispatch is remembered.
    static let dispatchTTL: Duration = .seconds(300)
    /// How long a send is remembered.
    static let sendTTL: Duration = .seconds(600)

    let locks: any LockStore
    let claims: RedisClaims
    let redis: RedisClient
    let buckets: TenantBuckets
    /// A send lock older than the lease of an attempt belongs to nobody who may still send.
    let sendTakeover: Duration

    nonisolated static func dispatchKey(_ tag: String, _ id: UUID) -> String {
        "mr:dispatch:{\(tag)}:\(id.text)"
    }

    nonisolated static func sendKey(_ tag: String, _ id: UUID) -> String {
        "mr:send:{\(tag)}:\(id.text)"
    }

    private func dispatchKey(of tenant: String, _ id: UUID) -> String {
        DispatchIdempotencyService.dispatchKey(buckets.tag(tenant, id), id)
    }

    private func sendKey(of job: MessageReference) -> String {
        let id = job.messageRequestID
        return DispatchIdempotencyService.sendKey(buckets.tag(job.tenant, id), id)
    }

    /// The token of a dispatcher: its generation, so that a later one knows that it may go ahead.
    nonisolated static func dispatchToken(generation: Int) -> String {
        "\(generation).\(UUID().uuidString.lowercased())"
    }

    /// Takes the right to dispatch; false when somebody has it or had it lately.
    ///
    /// The lock of an earlier generation is taken over.
    func acquireDispatchLock(
        _ tenant: String,
        _ id: UUID,
        token: String
    ) async throws(CoordinationError) -> Bool {
        let key = dispatchKey(of: tenant, id)
        let ttl = DispatchIdempotencyService.dispatchTTL
        if try await locks.acquire(key, value: token, ttl: ttl) { return true }
        guard let holder = try await locks.holder(of: key),
            DispatchIdempotencyService.generation(holder.value)
                < DispatchIdempotencyService.generation(token)
        else { return false }
        try await locks.release(key, value: holder.value)
        return try await locks.acquire(key, value: token, ttl: ttl)
    }

    /// Takes the rights to dispatch several requests: a token for each that is ours, nil for the
    /// others.
    ///
    /// After an error some may be held by nobody; what they are for is then dispatched without its
    /// event.
    func acquireDispatchLocks(
        _ requests: [DispatchRepository.Accepted]
    ) async throws(CoordinationError) -> [String?] {
        let tokens = requests.map {
            DispatchIdempotencyService.dispatchToken(generation: $0.generation)
        }
        let replies: [RedisValue]
        do {
            replies = try await redis.pipeline(
                zip(requests, tokens).map { request, token in
                    let key = dispatchKey(of: request.tenant, request.id)
                    let ttl = DispatchIdempotencyService.dispatchTTL.milliseconds
                    return ["SET", .string(key), .string(token), "NX", "PX", .int(ttl)]
                }
            )
        } catch {
            throw CoordinationError(operation: "lock", message: "\(error)")
        }
        var taken: [String?] = []
        for (index, reply) in replies.enumerated() {
            if let message = reply.errorMessage {
                throw CoordinationError(operation: "lock", message: message)
            }
            let request = requests[index]
            var isOurs = !reply.isNull
            // An earlier generation's is taken over; that needs a closer look.
            if !isOurs, request.generation > 1 {
                isOurs = try await acquireDispatchLock(
                    request.tenant,
                    request.id,
                    token: tokens[index]
                )
            }
            taken.append(isOurs ? tokens[index] : nil)
        }
        return taken
    }

    private static func generation(_ token: String) -> Int {
        token.split(separator: ".").first.flatMap { Int($0) } ?? 0
    }

    /// Gives the right back when dispatching failed.
    func releaseDispatchLock(_ tenant: String, _ id: UUID, token: String) async {
        _ = try? await locks.release(dispatchKey(of: tenant, id), value: token)
    }

    /// What came of asking for a send lock and the slots of a message.
    enum SendLock: Sendable, Hashable {
        case ours
        /// Somebody may still be sending; ask again after this long.
        case held(Duration)
        /// The slot at this place is taken for so long.
        case noSlot(Int, wait: Duration)
    }

    /// Takes the lock of an attempt, its owner being the attempt's token, with the slots that it needs:
    /// all of them or none.
    func acquireSendLock(
        _ job: MessageReference,
        token: UUID,
        slots: [RedisClaims.Slot]
    ) async throws(CoordinationError) -> SendLock {
        let key = sendKey(of: job)
        let ttl = DispatchIdempotencyService.sendTTL
        for _ in 0..<2 {
            switch try await claims.take(key, value: token.text, ttl: ttl, slots: slots) {
            case .taken: return .ours
            case .refused(let slot, let wait): return .noSlot(slot, wait: wait)
            case .locked(let holder):
                let left = sendTakeover - (ttl - holder.remaining)
                guard left <= .zero else { return .held(min(left, .seconds(5))) }
                try await locks.release(key, value: holder.value)
            }
        }
        return .held(.milliseconds(100))
    }

    /// Frees the lock of an attempt whose outcome is certain.
    func releaseSendLock(_ job: MessageReference, token: UUID) async {
        _ = try? await locks.release(sendKey(of: job), value: token.text)
    }

    /// Frees both locks of a request whose new generation the database has begun.
    func dropLocks(_ tenant: String, _ id: UUID) async {
        let keys = buckets.tags(tenant, id).flatMap {
            [
                DispatchIdempotencyService.sendKey($0, id),
                DispatchIdempotencyService.dispatchKey($0, id),
            ]
        }
        _ = try? await redis.send(["DEL"] + keys.map { .string($0) })
    }

    /// Frees whatever lock is left of a request that was settled in the database.
    func dropSendLock(_ tenant: String, _ id: UUID) async {
        let keys = buckets.tags(tenant, id).map { DispatchIdempotencyService.sendKey($0, id) }
        _ = try? await redis.send(["DEL"] + keys.map { .string($0) })
    }
}
