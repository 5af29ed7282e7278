import EventLoop
import PostgresClient
import TestSupport
import Testing

@Suite("PostgresListener", .serialized, .needsPostgres)
struct PostgresListenerTests {
    @LoopActor
    final class Heard {
        var payloads: [String] = []
        var connects = 0
        nonisolated init() {}
    }

    @Test("hears its channels in order, and again after its connection was lost")
    @LoopActor func reconnect() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let heard = Heard()
        let channel = "odd \"name\""
        let listener = PostgresListener(
            try PostgresConfiguration(url: url, applicationName: "listener"),
            channels: ["plain", channel],
            onReconnect: { heard.connects += 1 },
            onNotification: { heard.payloads.append("\($0.channel):\($0.payload)") }
        )
        try await listener.start()
        try await withClient(url: url) { client in
            let isListening = try await eventually { heard.connects == 1 }
            #expect(isListening)
            for number in 0..<3 {
                try await client.query(
                    "SELECT pg_notify($1, $2)",
                    [.string(channel), .string("\(number)")]
                )
            }
            try await client.query("NOTIFY plain")
            try await client.query("NOTIFY other")
            let expected = (0..<3).map { "\(channel):\($0)" } + ["plain:"]
            let isComplete = try await eventually { heard.payloads.count >= 4 }
            #expect(isComplete)
            #expect(heard.payloads == expected)

            try await client.query(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'listener' AND datname = current_database()
                """
            )
            let isBack = try await eventually { heard.connects == 2 }
            #expect(isBack)
            try await client.query("SELECT pg_notify('plain', 'again')")
            let isHeard = try await eventually { heard.payloads.last == "plain:again" }
            #expect(isHeard)
            listener.stop()
            #expect(!listener.isConnected)
        }
    }
}

@Suite("PostgresAdvisoryLocks", .serialized, .needsPostgres)
struct PostgresAdvisoryLocksTests {
    @LoopActor
    final class Lost {
        var keys: Set<String> = []
        nonisolated init() {}
    }

    @Test("one of two gets a lock; the other when it is released or its holder is gone")
    @LoopActor func exclusion() async throws {
        let url = try await PrivatePostgres.shared().makeDatabase()
        let configuration = try PostgresConfiguration(url: url, applicationName: "leader")
        let lost = Lost()
        let first = PostgresAdvisoryLocks(configuration, onLost: { lost.keys.formUnion($0) })
        let second = PostgresAdvisoryLocks(configuration)
        let early = await failure { () async throws(PostgresError) in
            try await first.tryAcquire("a")
        }
        #expect(early?.code == .connection)
        try await first.start()
        try await second.start()
        #expect(try await first.tryAcquire("a"))
        #expect(first.holds("a"))
        // Not twice, not even by the same.
        #expect(try await !first.tryAcquire("a"))
        #expect(try await !second.tryAcquire("a"))
        #expect(try await second.tryAcquire("b"))
        try await first.release("a")
        try await first.release("a")
        #expect(try await second.tryAcquire("a"))
        try await second.release("a")
        let both = (0..<2).map { _ in Task { try await first.tryAcquire("c") } }
        var taken = 0
        for task in both where try await task.value { taken += 1 }
        #expect(taken == 1)

        try await withClient(url: url) { client in
            try await client.query(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'leader' AND datname = current_database()
                """
            )
        }
        let isTold = try await eventually { lost.keys == ["c"] }
        #expect(isTold)
        #expect(!first.holds("c"))
        let isTakenOver = try await eventually { (try? await second.tryAcquire("c")) == true }
        #expect(isTakenOver)
        first.stop()
        second.stop()
    }
}
