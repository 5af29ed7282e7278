internal import DequeModule

/// Whose turn it is: deficit round robin over tenants with ready work.
///
/// Pure. Each round a tenant earns its weight, and each job costs one. What it did not use up is kept only
/// while it has work, so that an idle tenant saves nothing up.
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
        var isReady = false
        /// A call for jobs is on its way; a second one would only find what the first left.
        var isAsked = false
        var isQueued = false
    }

    private var tenants: [String: Tenant] = [:]
    private var turns = Deque<String>()
    /// How many tenants have work, those whose call is under way included.
    private var withWork = 0

    /// How many tenants have work, as far as this worker knows.
    var readyCount: Int { turns.count }

    /// The tenant has work; terms may have changed.
    mutating func isReady(_ id: String, _ terms: Terms) {
        var tenant = tenants[id] ?? Tenant(terms: terms)
        tenant.terms = terms
        if !tenant.isReady { withWork += 1 }
        tenant.isReady = true
        tenants[id] = tenant
        enqueue(id)
    }

    /// The next tenant and how many of its jobs to ask for; nil when there is none to serve.
    mutating func next(free: Int) -> (id: String, count: Int)? {
        guard free > 0 else { return nil }
        for _ in 0..<turns.count {
            guard let id = turns.popFirst(), var tenant = tenants[id] else { continue }
            tenant.isQueued = false
            let room = tenant.terms.inFlightMax - tenant.inFlight
            // One that is full or asked comes back when a job of its ends, or with the answer.
            guard tenant.isReady, !tenant.isAsked, room > 0 else {
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
            return (id, count)
        }
        return nil
    }

    /// The answer to a call: how many jobs came of those asked for, and whether there may be more.
    mutating func answered(_ id: String, got: Int, of count: Int, hasMore: Bool) {
        guard var tenant = tenants[id] else { return }
        tenant.isAsked = false
        tenant.inFlight -= count - got
        withWork += (hasMore ? 1 : 0) - (tenant.isReady ? 1 : 0)
        tenant.isReady = hasMore
        if !hasMore { tenant.deficit = 0 }
        tenants[id] = tenant
        // A turn that was cut short goes on before the next one's begins: with a single place, weights
        // would count for nothing otherwise.
        if hasMore { enqueue(id, isFirst: tenant.deficit > 0) } else { forgetIfIdle(id) }
    }

    /// A job of the tenant no longer runs.
    mutating func ended(_ id: String) {
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
    }
}
