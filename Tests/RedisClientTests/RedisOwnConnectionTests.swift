import EventLoop
import TestSupport
import Testing

@testable import RedisClient

@Suite(
    "RedisBlockingConnection and RedisSubscriber",
    .serialized,
    .enabled(if: PrivateRedis.isAvailable),
    .timeLimit(.minutes(2))
)
@LoopActor
struct RedisOwnConnectionTests {
    @Test("a blocked BLPOP delays nobody else and gets its element")
    func blocking() async throws {
        try await withRedis { server, redis async throws in
            let blocking = RedisBlockingConnection(RedisConfiguration(endpoint: server.endpoint))
            try await blocking.start()
            let pop = Task { @LoopActor in
                try await blocking.send(["BLPOP", "list", 20], within: .seconds(25))
            }
            #expect(try await eventually { blocking.readings.pending == 1 })
            #expect(
                await code { try await blocking.send(["PING"], within: .seconds(1)) } == .queueFull
            )
            for number in 1...100 {
                #expect(try await redis.send(["INCR", "n"]) == .int(Int64(number)))
            }
            _ = try await redis.send(["RPUSH", "list", "x"])
            #expect(try await pop.value.array?.last?.text == "x")
            #expect(
                try await blocking.send(["BLPOP", "list", "0.05"], within: .seconds(5)) == .null
            )
            await blocking.stop()
        }
    }

    @Test("cancelling the task ends the wait on both sides, and the connection comes back")
    func cancelled() async throws {
        try await withRedis { server, redis async throws in
            let blocking = RedisBlockingConnection(RedisConfiguration(endpoint: server.endpoint))
            try await blocking.start()
            let pop = Task { @LoopActor in
                await code { try await blocking.send(["BLPOP", "list", 0], within: .seconds(60)) }
            }
            #expect(try await eventually { blocking.readings.pending == 1 })
            pop.cancel()
            #expect(await pop.value == .cancelled)
            #expect(
                try await eventually {
                    try await redis.send(["CLIENT", "LIST"]).text?.contains("cmd=blpop") == false
                }
            )
            _ = try await redis.send(["RPUSH", "list", "x"])
            #expect(try await eventually { blocking.isConnected })
            let element = try await blocking.send(["BLPOP", "list", 1], within: .seconds(5))
            #expect(element.array?.last?.text == "x")
            let early = Task { @LoopActor in
                await code { try await blocking.send(["BLPOP", "list", 1], within: .seconds(5)) }
            }
            early.cancel()
            #expect(await early.value == .cancelled)
            await blocking.stop()
        }
    }

    @Test("a stop ends a wait")
    func stopped() async throws {
        try await withRedis { server, _ async throws in
            let blocking = RedisBlockingConnection(RedisConfiguration(endpoint: server.endpoint))
            try await blocking.start()
            let pop = Task { @LoopActor in
                await code { try await blocking.send(["BLPOP", "list", 0], within: .seconds(60)) }
            }
            #expect(try await eventually { blocking.readings.pending == 1 })
            await blocking.stop()
            #expect(await pop.value == .connectionLost)
        }
    }

    @Test("messages reach the handler of their channel or pattern, until it is dropped")
    func messages() async throws {
        try await withRedis { server, redis async throws in
            let subscriber = RedisSubscriber(RedisConfiguration(endpoint: server.endpoint))
            var seen: [String] = []
            try subscriber.subscribe(.channel("news")) { seen.append("c:\($0.text ?? "?")") }
            try await subscriber.start()
            try subscriber.subscribe(.pattern("n*")) { seen.append("p:\($0.channel)") }
            try await subscriber.confirmed(.channel("news"))
            try await subscriber.confirmed(.pattern("n*"))
            #expect(try await redis.publish("one", to: "news") == 2)
            #expect(try await redis.publish("two", to: "nothing") == 1)
            #expect(try await redis.publish("three", to: "other") == 0)
            #expect(try await eventually { seen.count == 3 })
            #expect(seen == ["c:one", "p:news", "p:nothing"])
            subscriber.unsubscribe(.pattern("n*"))
            #expect(try await eventually { try await redis.publish("four", to: "news") == 1 })
            #expect(try await eventually { seen.last == "c:four" })
            let absent = RedisSubscription.channel("absent")
            await #expect(throws: RedisError.self) {
                try await subscriber.confirmed(absent, within: .milliseconds(20))
            }
            await subscriber.stop()
        }
    }

    @Test("a subscriber subscribes again after a loss and says so once")
    func resubscription() async throws {
        try await withRedis { server, redis async throws in
            var restored = 0
            var seen: [String] = []
            let configuration = RedisConfiguration(endpoint: server.endpoint)
            let subscriber = RedisSubscriber(configuration, onResubscribed: { restored += 1 })
            try subscriber.subscribe(.channel("a")) { seen.append($0.text ?? "?") }
            try subscriber.subscribe(.channel("b")) { seen.append($0.text ?? "?") }
            try await subscriber.start()
            try await subscriber.confirmed(.channel("a"))
            try await subscriber.confirmed(.channel("b"))
            #expect(restored == 0)
            await server.kill()
            #expect(try await eventually { !subscriber.isConnected })
            try subscriber.subscribe(.channel("c")) { seen.append($0.text ?? "?") }
            try await server.restart()
            #expect(try await eventually { restored == 1 && redis.isConnected })
            for channel in ["a", "b", "c"] {
                #expect(try await redis.publish(.string(channel), to: channel) == 1)
            }
            #expect(try await eventually { seen == ["a", "b", "c"] })
            #expect(restored == 1)
            await subscriber.stop()
        }
    }

    @Test("a subscriber refuses one subscription more than its limit")
    func subscriptionLimit() throws {
        let subscriber = RedisSubscriber(RedisConfiguration())
        for number in 0..<RedisSubscriber.subscriptionLimit {
            try subscriber.subscribe(.channel("\(number)")) { _ in }
        }
        #expect(throws: RedisError.self) {
            try subscriber.subscribe(.channel("more")) { _ in }
        }
        try subscriber.subscribe(.channel("0")) { _ in }
        subscriber.unsubscribe(.channel("1"))
        try subscriber.subscribe(.channel("more")) { _ in }
    }

    @Test("quiet connections are tried, and a server that went silent is noticed unasked")
    func quiet() async throws {
        let idleLimit = Duration.milliseconds(300)
        try await withRedis(configure: { $0.idleLimit = idleLimit }) { server, redis async throws in
            var configuration = RedisConfiguration(endpoint: server.endpoint)
            configuration.idleLimit = idleLimit
            let subscriber = RedisSubscriber(configuration)
            try subscriber.subscribe(.channel("a")) { _ in }
            try await subscriber.start()
            try await subscriber.confirmed(.channel("a"))
            // Both live through a first trial, as the server answers it.
            try await EventLoop.shared.sleep(for: idleLimit * 2)
            #expect(redis.isConnected && subscriber.isConnected)
            #expect(redis.readings.connections == 1)
            await server.pause()
            // The kernel goes on taking connections for it, so both may be back for a moment.
            var lost: Set<String> = []
            #expect(
                try await eventually(within: idleLimit + .seconds(4)) {
                    if !redis.isConnected { lost.insert("redis") }
                    if !subscriber.isConnected { lost.insert("subscriber") }
                    return lost.count == 2
                }
            )
            await server.resume()
            #expect(
                try await eventually(within: .seconds(5)) {
                    redis.isConnected && subscriber.isConnected
                }
            )
            await subscriber.stop()
        }
    }
}
