internal import DequeModule

/// Whose turn it is: deficit round robin over tenants with ready work.
///
/// Pure. Each round a tenant earns its weight, and each job costs one. What it did not use up is kept only
/// while it has work, so that an idle tenant saves nothing up. A tenant may have several queues, which
/// take its turns one after the other.
struct FairSchedule {
    /// How a tenant is served.
    struct Terms: Sendable, Hashable {
        /// How many jobs it gets in a round; at least 1.
        var weight = 1
        /// How many of its jobs this worker runs at once.
        var inFlightMax = 8
    }

    private struct Tenant {
        var terms: Terms
        var deficit = 0
        var inFlight = 0
        /// Its queues with work, the one whose turn is next at the head.
        var ready = Deque<String>()
        var isReady: Bool { !ready.isEmpty }
        /// A call for jobs is on its way; a second one would only find what the first left.
        var isAsked = false
        var isQueued = false
    }

    private var tenants: [String: Tenant] = [:]
    /// The tenants of queues that have other names than their tenant.
    private var owners: [String: String] = [:]
    private var turns = Deque<String>()
    /// How many tenants have work, those whose call is under way included.
    private var withWork = 0

    /// How many tenants have work, as far as this worker knows.
    var readyCount: Int { turns.count }

    /// A queue has work; its tenant's terms may have changed.
    ///
    /// - Parameter owner: the tenant, when it has another name than the queue.
    mutating func isReady(_ queue: String, of owner: String? = nil, _ terms: Terms) {
        let id = owner ?? queue
        if id != queue { owners[queue] = id }
        var tenant = tenants[id] ?? Tenant(terms: terms)
        tenant.terms = terms
        if !tenant.isReady { withWork += 1 }
        if !tenant.ready.contains(queue) { tenant.ready.append(queue) }
        tenants[id] = tenant
        enqueue(id)
    }

    /// The next queue and how many of its jobs to ask for; nil when there is none to serve.
    mutating func next(free: Int) -> (id: String, count: Int)? {
        guard free > 0 else { return nil }
        for _ in 0..<turns.count {
            guard let id = turns.popFirst(), var tenant = tenants[id] else { continue }
            tenant.isQueued = false
            let room = tenant.terms.inFlightMax - tenant.inFlight
            // One that is full or asked comes back when a job of its ends, or with the answer.
            guard let queue = tenant.ready.first, !tenant.isAsked, room > 0 else {
                tenants[id] = tenant
                continue
            }
            let count: Int
            if withWork == 1 {
                // Nobody else waits: a call for each job would only cost round trips. A place stays
                // free, for a worker without any does not listen who else may come.
                count = min(room, max(1, free - 1))
            } else {
                // What is left of a turn that had too few free places goes on; else a new one begins.
                if tenant.deficit < 1 { tenant.deficit += max(1, tenant.terms.weight) }
                count = min(tenant.deficit, room, free)
                tenant.deficit -= count
            }
            tenant.inFlight += count
            tenant.isAsked = true
            tenants[id] = tenant
            return (queue, count)
        }
        return nil
    }

    /// The answer to a call: how many jobs came of those asked for, and whether there may be more.
    mutating func answered(_ queue: String, got: Int, of count: Int, hasMore: Bool) {
        let id = owners[queue] ?? queue
        guard var tenant = tenants[id] else { return }
        let wasReady = tenant.isReady
        tenant.isAsked = false
        tenant.inFlight -= count - got
        tenant.ready.removeAll { $0 == queue }
        if hasMore { tenant.ready.append(queue) }
        withWork += (tenant.isReady ? 1 : 0) - (wasReady ? 1 : 0)
        // What one queue did not have, the tenant's next one may.
        if !hasMore { tenant.deficit = tenant.isReady ? tenant.deficit + count - got : 0 }
        tenants[id] = tenant
        // A turn that was cut short goes on before the next one's begins: with a single place, weights
        // would count for nothing otherwise.
        if tenant.isReady { enqueue(id, isFirst: tenant.deficit > 0) } else { forgetIfIdle(id) }
    }

    /// A job of the queue no longer runs.
    mutating func ended(_ queue: String) {
        let id = owners[queue] ?? queue
        guard var tenant = tenants[id] else { return }
        tenant.inFlight -= 1
        tenants[id] = tenant
        if tenant.isReady { enqueue(id) } else { forgetIfIdle(id) }
    }

    private mutating func enqueue(_ id: String, isFirst: Bool = false) {
        guard var tenant = tenants[id], !tenant.isQueued, !tenant.isAsked,
            tenant.inFlight < tenant.terms.inFlightMax
        else { return }
        tenant.isQueued = true
        tenants[id] = tenant
        if isFirst { turns.prepend(id) } else { turns.append(id) }
    }

    private mutating func forgetIfIdle(_ id: String) {
        guard let tenant = tenants[id], !tenant.isReady, !tenant.isAsked, tenant.inFlight == 0
        else { return }
        tenants[id] = nil
        if !owners.isEmpty { owners = owners.filter { $0.value != id } }
    }
}
