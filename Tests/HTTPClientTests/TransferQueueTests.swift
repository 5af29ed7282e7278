import TestSupport
import Testing

@testable import HTTPClient

@Suite("TransferQueue")
struct TransferQueueTests {
    @Test("starts up to the limit, then queues, then refuses")
    func limits() {
        var queue = TransferQueue(inFlightLimit: 2, perHostLimit: 2, waitingLimit: 1)
        #expect(queue.admit(1, host: "a") == .start)
        #expect(queue.admit(2, host: "b") == .start)
        #expect(queue.admit(3, host: "c") == .wait)
        #expect(queue.admit(4, host: "d") == .refuse)
        #expect(queue.finished(host: "a") == 3)
        #expect(queue.finished(host: "b") == nil)
        #expect(queue.finished(host: "c") == nil)
        #expect(queue.inFlight == 0 && queue.waiting == 0)
    }

    @Test("a full host queues while others start")
    func perHost() {
        var queue = TransferQueue(inFlightLimit: 10, perHostLimit: 1, waitingLimit: 10)
        #expect(queue.admit(1, host: "a") == .start)
        #expect(queue.admit(2, host: "a") == .wait)
        #expect(queue.admit(3, host: "b") == .start)
        #expect(queue.finished(host: "b") == nil)
        #expect(queue.finished(host: "a") == 2)
    }

    @Test("hosts that have room take turns")
    func turns() {
        var queue = TransferQueue(inFlightLimit: 1, perHostLimit: 1, waitingLimit: 10)
        #expect(queue.admit(1, host: "a") == .start)
        for id in UInt64(2)...4 { #expect(queue.admit(id, host: "a") == .wait) }
        #expect(queue.admit(5, host: "b") == .wait)
        #expect(queue.admit(6, host: "c") == .wait)
        var order: [UInt64] = []
        var hosts = ["a"]
        while let host = hosts.popLast(), let next = queue.finished(host: host) {
            order.append(next)
            hosts.append(next == 5 ? "b" : next == 6 ? "c" : "a")
        }
        // `a` had no room when 2 came, so `b` and `c` are ahead of it.
        #expect(order == [5, 6, 2, 3, 4])
    }

    @Test("who gave up is not started, and leaves its place in the queue")
    func withdraw() {
        var queue = TransferQueue(inFlightLimit: 1, perHostLimit: 1, waitingLimit: 2)
        #expect(queue.admit(1, host: "a") == .start)
        #expect(queue.admit(2, host: "b") == .wait)
        #expect(queue.admit(3, host: "b") == .wait)
        #expect(queue.withdraw(2, host: "b") == true)
        #expect(queue.withdraw(2, host: "b") == false)
        #expect(queue.withdraw(1, host: "a") == false)
        #expect(queue.admit(4, host: "c") == .wait)
        #expect(queue.withdraw(3, host: "b") == true)
        #expect(queue.finished(host: "a") == 4)
        #expect(queue.waiting == 0)
    }

    @Test("random steps: no limit is ever passed, nothing that could start is left waiting")
    func invariants() throws {
        try SeededRandom.check(runs: 100) { random in
            var model = Model()
            for _ in 0..<200 { try model.step(&random) }
            try model.drain()
        }
    }
}

/// Checks the queue against plain book-keeping.
private struct Model {
    struct Violation: Error {
        let rule: String
    }

    var queue = TransferQueue(inFlightLimit: 5, perHostLimit: 2, waitingLimit: 6)
    var running: [(id: UInt64, host: String)] = []
    var waiting: [(id: UInt64, host: String)] = []
    var nextID: UInt64 = 0

    mutating func step(_ random: inout SeededRandom) throws {
        switch random.next() % 8 {
        case 0...3: try admit("h\(random.next() % 4)")
        case 4...6 where !running.isEmpty: try finish(Int(random.next() % UInt64(running.count)))
        case 7 where !waiting.isEmpty:
            let gone = waiting.remove(at: Int(random.next() % UInt64(waiting.count)))
            try hold(queue.withdraw(gone.id, host: gone.host), "who waits can give up")
        default: break
        }
        try check()
    }

    mutating func admit(_ host: String) throws {
        nextID += 1
        switch queue.admit(nextID, host: host) {
        case .start: running.append((nextID, host))
        case .wait: waiting.append((nextID, host))
        case .refuse: try hold(waiting.count == 6, "refused only when full")
        }
    }

    mutating func finish(_ index: Int) throws {
        let ended = running.remove(at: index)
        guard let next = queue.finished(host: ended.host) else { return }
        guard let place = waiting.firstIndex(where: { $0.id == next }) else {
            throw Violation(rule: "only who waits is started")
        }
        let host = waiting[place].host
        try hold(!waiting[..<place].contains { $0.host == host }, "in order within a host")
        running.append(waiting.remove(at: place))
    }

    func check() throws {
        try hold(queue.inFlight == running.count && queue.waiting == waiting.count, "counts")
        try hold(running.count <= 5 && waiting.count <= 6, "limits")
        let perHost = Dictionary(grouping: running, by: \.host).mapValues(\.count)
        try hold(perHost.values.allSatisfy { $0 <= 2 }, "limit per host")
        let couldStart = running.count < 5 && waiting.contains { perHost[$0.host, default: 0] < 2 }
        try hold(!couldStart, "nobody waits for nothing")
    }

    mutating func drain() throws {
        while !running.isEmpty { try finish(0) }
        try hold(waiting.isEmpty && queue.inFlight == 0 && queue.waiting == 0, "all have run")
    }

    private func hold(_ condition: Bool, _ rule: String) throws {
        if !condition { throw Violation(rule: rule) }
    }
}
