internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Telemetry

/// Lists of a room, kept for a while: `queryCache.get/set(namespace, params, value, ttl)`.
///
/// A write of the room throws all of its lists out, after its commit and before its answer. Equal
/// readers of one process share one look at the database. Without Redis every reader looks.
@LoopActor
final class QueryCache {
    /// What is cached.
    enum Namespace: String, CaseIterable, Sendable {
        case threads = "threads:room"
        case messages = "messages:room"

        func group(_ tenant: String, _ room: String) -> String { "{\(tenant)}:\(rawValue):\(room)" }
    }

    /// Larger values are not kept.
    static let valueBytesMax = 256 * 1024
    /// So far a lifetime may differ from the one that was asked for, so that not all end at once.
    static let jitter = 0.1

    /// What is asked for: a list of a room, with what it depends on.
    struct Query: Sendable, Hashable {
        let namespace: Namespace
        let tenant: String
        let room: UUID
        /// Only messages of this thread.
        var thread: UUID?
        /// Archived threads too.
        var includesArchived = false
        let page: Page

        /// In a fixed order.
        var params: String {
            let selection =
                switch namespace {
                case .threads: "archived=\(includesArchived)"
                case .messages: "thread=\(thread?.text ?? "")"
                }
            return "\(selection)&limit=\(page.limit)&after=\(page.after ?? "")"
        }

        var group: String { namespace.group(tenant, room.text) }
    }

    private struct Flight: Hashable {
        let query: Query
        let generation: Int64
    }

    /// Lists of a tenant's rooms that hold no longer.
    private struct Stale: Sendable {
        let tenant: String
        let rooms: [UUID]
    }

    /// Calls under way at once that throw lists out; what comes meanwhile goes in the next one.
    private static let callsAtOnce = 2

    private let store: (any GenerationCache)?
    private let invalidations: SharedTrips<Stale, Void>?
    private let recent = RecentLists()
    private let metrics: (threads: CacheMetrics, messages: CacheMetrics)
    private let now: @LoopActor () -> MonotonicTime
    private var flights: [Flight: [CheckedContinuation<Result<[UInt8], any Error>, Never>]] = [:]

    private let admits: @LoopActor () -> Bool

    /// - Parameters:
    ///   - admits: whether another value may be kept.
    ///   - now: the clock of what was read a moment ago.
    init(
        store: (any GenerationCache)?,
        admits: @escaping @LoopActor () -> Bool = { true },
        now: @escaping @LoopActor () -> MonotonicTime = MonotonicTime.now
    ) {
        self.store = store
        invalidations = store.map { store in
            // None is refused: a list that is not thrown out is wrong.
            SharedTrips(.init(trips: QueryCache.callsAtOnce, waitingMax: .max)) { stale in
                await QueryCache.invalidate(stale, store)
                return stale.map { _ in .success(()) }
            }
        }
        self.admits = admits
        self.now = now
        metrics = (
            CacheMetrics.of(Namespace.threads.rawValue),
            CacheMetrics.of(Namespace.messages.rawValue)
        )
    }

    private func metrics(of query: Query) -> CacheMetrics {
        switch query.namespace {
        case .threads: metrics.threads
        case .messages: metrics.messages
        }
    }

    /// What is known; `nil` when the cache cannot be asked.
    func get(_ query: Query) async -> CacheLookup? {
        guard let store else { return nil }
        let group = query.group
        do {
            let lookup = try await store.get(group, query.params)
            if let value = lookup.value {
                recent.learn(query, value, group: group, generation: lookup.generation, now())
            }
            return lookup
        } catch {
            Degradation.note("cache")
            return nil
        }
    }

    /// Keeps a value that was read in `generation`.
    func set(_ query: Query, _ value: [UInt8], generation: Int64, ttl: Duration) async {
        guard let store, value.count <= QueryCache.valueBytesMax, admits() else { return }
        let factor = Double.random(in: 1 - QueryCache.jitter...1 + QueryCache.jitter)
        do {
            try await store.set(
                query.group,
                query.params,
                value,
                generation: generation,
                ttl: .milliseconds(Int64(Double(ttl.milliseconds) * factor))
            )
        } catch {
            Degradation.note("cache")
        }
    }

    /// Throws out everything that was kept of a tenant's rooms.
    ///
    /// Messages that were written together are told of together: one call to Redis for each tenant.
    func invalidate(_ tenant: String, _ rooms: [UUID]) async {
        try? await invalidations?.go(Stale(tenant: tenant, rooms: rooms), items: rooms.count)
    }

    private static func invalidate(_ stale: [Stale], _ store: any GenerationCache) async {
        var rooms: [String: Set<UUID>] = [:]
        for one in stale { rooms[one.tenant, default: []].formUnion(one.rooms) }
        for (tenant, rooms) in rooms {
            do {
                try await store.invalidate(QueryCache.groups(tenant, rooms))
            } catch {
                // What is kept stays until its time is up.
                Degradation.note("cache")
            }
        }
    }

    private nonisolated static func groups(_ tenant: String, _ rooms: Set<UUID>) -> [String] {
        rooms.flatMap { room in
            let room = room.text
            return Namespace.allCases.map { $0.group(tenant, room) }
        }
    }

    /// The value of a query: the one that is kept, or what `load` answers.
    ///
    /// What was read a moment ago is not carried again where its generation still holds.
    ///
    /// - Throws: what `load` throws; that is not kept.
    func value(
        _ query: Query,
        ttl: Duration,
        _ load: @LoopActor () async throws -> [UInt8]
    ) async throws -> [UInt8] {
        guard let store, let copy = recent.copy(query, now()) else {
            return try await looked(query, ttl, load)
        }
        do {
            if try await store.generation(of: copy.group) == copy.generation {
                metrics(of: query).hits.increment()
                return copy.value
            }
        } catch {
            Degradation.note("cache")
            metrics(of: query).off.increment()
            return try await load()
        }
        return try await looked(query, ttl, load)
    }

    @inline(never)  // Its frame would be part of what every reader holds while it waits.
    private func looked(
        _ query: Query,
        _ ttl: Duration,
        _ load: @LoopActor () async throws -> [UInt8]
    ) async throws -> [UInt8] {
        let metrics = metrics(of: query)
        guard let lookup = await get(query) else {
            metrics.off.increment()
            return try await load()
        }
        if let value = lookup.value {
            metrics.hits.increment()
            return value
        }
        // The generation is part of it: who asks after a write never shares a look from before.
        let flight = Flight(query: query, generation: lookup.generation)
        if flights[flight] != nil {
            metrics.shared.increment()
            return try await withCheckedContinuation { flights[flight]?.append($0) }.get()
        }
        metrics.misses.increment()
        flights[flight] = []
        let result: Result<[UInt8], any Error>
        do {
            result = .success(try await load())
        } catch {
            result = .failure(error)
        }
        for waiter in flights.removeValue(forKey: flight) ?? [] { waiter.resume(returning: result) }
        if case .success(let value) = result {
            await set(query, value, generation: lookup.generation, ttl: ttl)
        }
        return try result.get()
    }
}
