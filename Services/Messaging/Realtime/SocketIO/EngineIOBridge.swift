internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import RedisClient

/// Carries the polls of a client to the instance that has its session.
///
/// Instances share a port, and a client that polls opens connections as it likes: any of its requests
/// may come to any of them. The session's id says whose it is; the request goes there by Redis and its
/// answer comes back so. Where the owner is gone nobody hears the request, and the client begins anew.
@LoopActor
final class EngineIOBridge {
    /// How long a request may be away: a poll is answered by the next ping at the latest.
    static let patience: Duration = EngineIOSession.pingInterval + .seconds(5)
    /// How many requests may be away at once.
    static let pendingMax = 10_000

    /// How often it looks whether those that are asked are still there.
    static let lookInterval: Duration = .seconds(3)

    /// A request that is away.
    private struct Question {
        let owner: String
        let continuation: CheckedContinuation<[UInt8]?, Never>
    }

    /// What a session of this instance answers; `nil` when there is none of that id.
    var onRequest: (@LoopActor (_ sid: String, _ body: [UInt8]?) async -> [UInt8]?)?

    /// This instance; every id of a session of it begins so.
    private let instance = String(UUID().text.prefix(8))
    private let redis: RedisClient?
    private let wakeUps: LiveWakeUps
    private var pending: [Int64: Question] = [:]
    private lazy var looks = RepeatedWork(every: EngineIOBridge.lookInterval) { [weak self] in
        await self?.settleOfTheDead()
    }
    /// Requests that are being published.
    private var asking: [Int64: Task<Void, Never>] = [:]
    private var count: Int64 = 0
    /// Answers that are being made for other instances.
    private var serving: [Int64: Task<Void, Never>] = [:]
    private var served: Int64 = 0

    init(redis: RedisClient?, wakeUps: LiveWakeUps) {
        self.redis = redis
        self.wakeUps = wakeUps
    }

    /// Begins to hear what others ask; without Redis every instance is on its own.
    func start() {
        wakeUps.hear(EngineIOBridge.channel(instance)) { [weak self] in self?.received($0) }
        looks.start()
    }

    /// Looks no more; what is away is settled by its answer or its time.
    func stop() { looks.stop() }

    /// The id of a new session.
    func makeSID() -> String { "\(instance)-\(UUID().text)" }

    /// Asks the owner of a session: takes a body to it, or polls it; `nil` when nobody has it.
    func ask(_ sid: String, body: [UInt8]?) async -> [UInt8]? {
        guard let redis, let owner = sid.split(separator: "-").first.map(String.init),
            owner != instance, owner.utf8.count == 8, pending.count < EngineIOBridge.pendingMax
        else { return nil }
        count += 1
        let id = count
        var request: JSONObject = [
            "from": .string(instance), "id": .int(id), "sid": .string(sid),
        ]
        if let body { request["body"] = .string(String(decoding: body, as: UTF8.self)) }
        let message = JSON.object(request).serialized()
        let timer = EventLoop.shared.schedule(after: EngineIOBridge.patience) { [weak self] in
            self?.settle(id, nil)
        }
        defer { EventLoop.shared.cancel(timer) }
        return await withCheckedContinuation { continuation in
            pending[id] = Question(owner: owner, continuation: continuation)
            asking[id] = Task {
                let heard = try? await redis.send(
                    ["PUBLISH", .string(EngineIOBridge.channel(owner)), .bytes(message)]
                )
                if heard?.integer ?? 0 == 0 { await settleOfTheDead() }
                asking[id] = nil
            }
        }
    }

    private func settle(_ id: Int64, _ answer: [UInt8]?) {
        pending.removeValue(forKey: id)?.continuation.resume(returning: answer)
    }

    /// Nobody answers any more for an instance whose channel nobody hears.
    private func settleOfTheDead() async {
        let owners = Set(pending.values.map(\.owner))
        guard let redis, !owners.isEmpty else { return }
        let channels = owners.map { RedisArgument.string(EngineIOBridge.channel($0)) }
        // A channel is heard from any node of a cluster, and each knows of its own hearers only.
        guard let answers = try? await redis.sendToAll(["PUBSUB", "NUMSUB"] + channels) else {
            return
        }
        for owner in owners {
            let channel = EngineIOBridge.channel(owner)
            let hearers = answers.compactMap { answer -> Int64? in
                answer.pairs.first { $0.0.text == channel }?.1.integer
            }
            guard hearers.count == answers.count, hearers.allSatisfy({ $0 == 0 }) else { continue }
            for (id, question) in pending where question.owner == owner { settle(id, nil) }
        }
    }

    private func received(_ message: RedisMessage) {
        guard let document = try? JSON(parsing: message.payload, limits: .foreign),
            let id = document["id"]?.intValue
        else { return }
        guard let from = document["from"]?.stringValue, let sid = document["sid"]?.stringValue
        else { return settle(id, document["answer"]?.stringValue.map { Array($0.utf8) }) }
        served += 1
        let number = served
        let body = document["body"]?.stringValue.map { Array($0.utf8) }
        serving[number] = Task {
            await answer(from, id, await onRequest?(sid, body) ?? nil)
            serving[number] = nil
        }
    }

    private func answer(_ instance: String, _ id: Int64, _ packets: [UInt8]?) async {
        let document: JSON = [
            "id": .int(id),
            "answer": packets.map { .string(String(decoding: $0, as: UTF8.self)) } ?? .null,
        ]
        _ = try? await redis?.send(
            ["PUBLISH", .string(EngineIOBridge.channel(instance)), .bytes(document.serialized())]
        )
    }

    private static func channel(_ instance: String) -> String { "live:polls:\(instance)" }
}
