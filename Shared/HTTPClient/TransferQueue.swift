internal import DequeModule

/// Decides which transfer may start: a limit over all, a limit per host, a bounded queue.
///
/// Hosts that have room take turns, so one with a long queue does not hold up the others. One end
/// starts at most one transfer: either all places were taken, and one is free now, or every queued
/// transfer waits for its host, and one host has room now.
struct TransferQueue {
    typealias ID = UInt64

    /// What to do with a new transfer.
    enum Admission: Hashable {
        case start
        case wait
        case refuse
    }

    private struct Host {
        var inFlight = 0
        var waiting: Deque<ID> = []
        var isInTurn = false
    }

    let inFlightLimit: Int
    let perHostLimit: Int
    let waitingLimit: Int
    private(set) var inFlight = 0
    private(set) var waiting = 0
    private var hosts: [String: Host] = [:]
    /// Hosts that have both a waiting transfer and room for it.
    private var turns: Deque<String> = []

    init(inFlightLimit: Int, perHostLimit: Int, waitingLimit: Int) {
        self.inFlightLimit = inFlightLimit
        self.perHostLimit = perHostLimit
        self.waitingLimit = waitingLimit
    }

    mutating func admit(_ id: ID, host name: String) -> Admission {
        var host = hosts[name] ?? Host()
        if inFlight < inFlightLimit && host.inFlight < perHostLimit && host.waiting.isEmpty {
            inFlight += 1
            host.inFlight += 1
            hosts[name] = host
            return .start
        }
        guard waiting < waitingLimit else { return .refuse }
        waiting += 1
        host.waiting.append(id)
        hosts[name] = host
        takeTurn(name)
        return .wait
    }

    /// A started transfer ended; returns the one to start in its place.
    mutating func finished(host name: String) -> ID? {
        guard hosts[name] != nil else { preconditionFailure("no transfer of \(name) was started") }
        inFlight -= 1
        hosts[name]?.inFlight -= 1
        takeTurn(name)
        forgetIfIdle(name)
        return startNext()
    }

    /// A waiting transfer gave up; `false` when it does not wait.
    mutating func withdraw(_ id: ID, host name: String) -> Bool {
        guard let index = hosts[name]?.waiting.firstIndex(of: id) else { return false }
        hosts[name]?.waiting.remove(at: index)
        waiting -= 1
        forgetIfIdle(name)
        return true
    }

    private mutating func startNext() -> ID? {
        guard inFlight < inFlightLimit else { return nil }
        while let name = turns.popFirst() {
            hosts[name]?.isInTurn = false
            // Since it took its turn all who waited may have given up, and others may have started.
            guard let host = hosts[name], host.inFlight < perHostLimit,
                let id = hosts[name]?.waiting.popFirst()
            else { continue }
            waiting -= 1
            inFlight += 1
            hosts[name]?.inFlight += 1
            takeTurn(name)
            return id
        }
        return nil
    }

    private mutating func takeTurn(_ name: String) {
        guard let host = hosts[name], !host.isInTurn, !host.waiting.isEmpty,
            host.inFlight < perHostLimit
        else { return }
        hosts[name]?.isInTurn = true
        turns.append(name)
    }

    private mutating func forgetIfIdle(_ name: String) {
        guard let host = hosts[name], host.inFlight == 0, host.waiting.isEmpty else { return }
        hosts[name] = nil
        if host.isInTurn { turns.removeAll { $0 == name } }
    }
}
