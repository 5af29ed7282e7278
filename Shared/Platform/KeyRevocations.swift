public import EventLoop
public import RedisClient

/// Hears of revoked keys by Redis, so that no process goes on believing one that it remembers.
///
/// Messages are lost while the connection is down: afterwards every key is looked up again. Without
/// Redis a key is believed for `KeyAuthenticator.freshFor` at most.
@LoopActor
public final class KeyRevocations {
    /// The channel; a message is the id of a key.
    nonisolated static let channel = "switchboard:keys:revoked"

    private let subscriber: RedisSubscriber
    private let authenticator: KeyAuthenticator

    init(_ redis: RedisConfiguration, _ authenticator: KeyAuthenticator) {
        self.authenticator = authenticator
        subscriber = RedisSubscriber(redis, onResubscribed: { authenticator.doubtAll() })
    }

    /// Listens, now or from when Redis is there.
    func start() async {
        let authenticator = authenticator
        do {
            try subscriber.subscribe(.channel(KeyRevocations.channel)) { message in
                if let keyID = message.text { authenticator.forget(keyID: keyID) }
            }
            try await subscriber.start()
        } catch {
            // The subscriber goes on trying; what it misses is looked up again.
            return
        }
    }

    func stop() async { await subscriber.stop() }

    /// Tells every process that a key has ended; what cannot be told is noticed by them, later.
    public static func publish(_ keyID: String, to redis: RedisConfiguration) async {
        let client = RedisClients.make(redis)
        do {
            try await client.start()
            _ = try await client.send(["PUBLISH", .string(channel), .string(keyID)])
        } catch {
            ProcessExit.lastWords("redis is away (\(error)): the key ends within 5 seconds")
        }
        await client.stop()
    }
}
