import EventLoop
import RedisClient
import Testing

@testable import Coordination

@Suite("GenerationCache", .timeLimit(.minutes(1)))
@LoopActor
struct GenerationCacheTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test(
        "what was kept is found, by its own key only, until its time is up",
        arguments: Kind.available
    )
    func keeps(kind: Kind) async throws {
        let cache = try await kind.cache()
        let group = "{\(TestRedis.tenant())}:threads:r1"
        let first = try await cache.get(group, "a")
        #expect(first == CacheLookup(generation: 0, value: nil))
        try await cache.set(group, "a", bytes("one"), generation: 0, ttl: .milliseconds(150))
        try await cache.set(group, "b", bytes(""), generation: 0, ttl: .seconds(60))
        #expect(try await cache.get(group, "a").value == bytes("one"))
        #expect(try await cache.get(group, "b").value == bytes(""))
        #expect(try await cache.get(group, "c").value == nil)
        try await EventLoop.shared.sleep(for: .milliseconds(200))
        #expect(try await cache.get(group, "a").value == nil)
        #expect(try await cache.get(group, "b").value != nil)
    }

    @Test("a change throws all variants out, of its own group only", arguments: Kind.available)
    func invalidates(kind: Kind) async throws {
        let cache = try await kind.cache()
        let tenant = TestRedis.tenant()
        let (one, two) = ("{\(tenant)}:threads:r1", "{\(tenant)}:threads:r2")
        for (group, key) in [(one, "a"), (one, "b"), (two, "a")] {
            try await cache.set(group, key, bytes(key), generation: 0, ttl: .seconds(60))
        }
        try await cache.invalidate([one])
        #expect(try await cache.get(one, "a") == CacheLookup(generation: 1, value: nil))
        #expect(try await cache.get(one, "b").value == nil)
        #expect(try await cache.get(two, "a").value == bytes("a"))
    }

    @Test(
        "a slow reader that began before a change cannot put its old value back, 300 times",
        arguments: Kind.available
    )
    func slowReader(kind: Kind) async throws {
        let cache = try await kind.cache()
        let group = "{\(TestRedis.tenant())}:messages:r1"
        var stored = 0
        var stale = 0
        for _ in 0..<300 {
            let lookup = try await cache.get(group, "list")
            let read = stored
            // Between the load and the fill somebody writes, and says so after the commit.
            stored += 1
            try await cache.invalidate([group])
            try await cache.set(
                group,
                "list",
                bytes("\(read)"),
                generation: lookup.generation,
                ttl: .seconds(60)
            )
            if let value = try await cache.get(group, "list").value, value != bytes("\(stored)") {
                stale += 1
            }
        }
        #expect(stale == 0)
    }

    @Test(
        "another instance's change is seen by one that knows the generation before",
        .enabled(if: TestRedis.url != nil)
    )
    func remembered() async throws {
        let redis = try await TestRedis.client()
        let (mine, other) = (RedisGenerationCache(redis), RedisGenerationCache(redis))
        let group = "{\(TestRedis.tenant())}:threads:r1"
        for generation in Int64(0)..<3 {
            try await mine.set(
                group,
                "a",
                bytes("\(generation)"),
                generation: generation,
                ttl: .seconds(60)
            )
            // The second look knows the generation; both answer with the value of now.
            for _ in 0..<2 {
                #expect(try await mine.get(group, "a").value == bytes("\(generation)"))
            }
            try await other.invalidate([group])
            let lookup = try await mine.get(group, "a")
            #expect(lookup == CacheLookup(generation: generation + 1, value: nil))
        }
        // A generation that Redis forgot is 0 again, whatever is remembered.
        _ = try await redis.send(["DEL", .string("cg:\(group)")])
        let lookup = try await mine.get(group, "b")
        #expect(lookup == CacheLookup(generation: 0, value: nil))
    }

    @Test(
        "the keys are as published, and generations last longer than their values",
        .enabled(if: TestRedis.url != nil)
    )
    func keys() async throws {
        let redis = try await TestRedis.client()
        let cache = RedisGenerationCache(redis)
        let group = "{\(TestRedis.tenant())}:threads:r1"
        try await cache.invalidate([group])
        try await cache.set(group, "k", bytes("v"), generation: 1, ttl: .seconds(300))
        // The end is `printf k | sha1sum`.
        let digest = "13fbd79c3d390e5d6585a21e11ff5ec1970cff0c"
        let value = try await redis.send(["GET", .string("qc:\(group):1:\(digest)")])
        #expect(value.text == "v")
        let ttl = try await redis.send(["TTL", .string("cg:\(group)")])
        #expect((86_390...86_400).contains(ttl.integer ?? 0))
    }

    @Test("a group's generation is counted up with each change", arguments: Kind.available)
    func generations(kind: Kind) async throws {
        let cache = try await kind.cache()
        let group = "{\(TestRedis.tenant())}:threads:r1"
        for generation in Int64(0)..<3 {
            #expect(try await cache.generation(of: group) == generation)
            try await cache.invalidate([group])
        }
    }

    @Test(
        "who asks in the same tick shares the question; who asks later asks again",
        .enabled(if: TestRedis.url != nil)
    )
    func sharedQuestions() async throws {
        let (redis, other) = (try await TestRedis.client(), try await TestRedis.client())
        let cache = RedisGenerationCache(redis)
        let group = "{\(TestRedis.tenant())}:messages:r1"
        try await cache.invalidate([group])
        var before = redis.readings.commands
        try await withThrowingTaskGroup(of: Int64.self) { tasks in
            for _ in 0..<20 { tasks.addTask { try await cache.generation(of: group) } }
            for try await generation in tasks { #expect(generation == 1) }
        }
        #expect(redis.readings.commands - before == 1)
        // The answer to a question that has left may be from before what the next one must see.
        _ = try await other.send(["CLIENT", "PAUSE", 60, "ALL"])
        before = redis.readings.commands
        async let first = cache.generation(of: group)
        try await EventLoop.shared.sleep(for: .milliseconds(10))
        async let second = cache.generation(of: group)
        let generations = try await [first, second]
        #expect(generations == [1, 1])
        #expect(redis.readings.commands - before == 2)
    }
}
