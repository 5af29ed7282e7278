import EventLoop
import Testing

@testable import PostgresClient

@Suite("PoolStateMachine")
struct PoolStateMachineTests {
    func time(_ milliseconds: Int64) -> MonotonicTime {
        MonotonicTime(nanoseconds: milliseconds * 1_000_000)
    }

    func machine(_ size: Int, connected: Int = 0) -> PoolStateMachine {
        var machine = PoolStateMachine(
            size: size,
            waitersMax: 2,
            patience: .seconds(1),
            ageMax: .seconds(60),
            now: time(0)
        )
        for slot in 0..<connected { #expect(machine.connected(slot, now: time(0)) == .none) }
        return machine
    }

    @Test("the connection used last is used next")
    func lastInFirstOut() {
        var machine = machine(3, connected: 3)
        #expect(machine.acquire(1, now: time(0)) == .lease(2))
        #expect(machine.acquire(2, now: time(0)) == .lease(1))
        #expect(machine.released(2, isReusable: true, now: time(1)) == .none)
        #expect(machine.acquire(3, now: time(2)) == .lease(2))
        #expect((machine.idleCount, machine.leasedCount, machine.liveCount) == (1, 2, 3))
    }

    @Test("waiters are served in the order they came")
    func order() {
        var machine = machine(1, connected: 1)
        #expect(machine.acquire(1, now: time(0)) == .lease(0))
        #expect(machine.acquire(2, now: time(0)) == .wait)
        #expect(machine.acquire(3, now: time(0)) == .wait)
        #expect(machine.released(0, isReusable: true, now: time(1)) == .lease(0, to: 2))
        #expect(machine.released(0, isReusable: true, now: time(2)) == .lease(0, to: 3))
        #expect(machine.released(0, isReusable: true, now: time(3)) == .none)
    }

    @Test("more waiters than may wait are refused")
    func queueLimit() {
        var machine = machine(1, connected: 1)
        _ = machine.acquire(1, now: time(0))
        #expect(machine.acquire(2, now: time(0)) == .wait)
        #expect(machine.acquire(3, now: time(0)) == .wait)
        #expect(machine.acquire(4, now: time(0)) == .refuse(.queueFull))
        #expect(machine.waitingCount == 2)
    }

    @Test("waiters give up after their patience, first come first")
    func patience() {
        var machine = machine(1, connected: 1)
        _ = machine.acquire(1, now: time(0))
        _ = machine.acquire(2, now: time(0))
        _ = machine.acquire(3, now: time(400))
        #expect(machine.nextDeadline == time(1000))
        #expect(machine.waitersDue(now: time(999)) == [])
        #expect(machine.waitersDue(now: time(1000)) == [2])
        #expect(machine.nextDeadline == time(1400))
        #expect(machine.waitersDue(now: time(5000)) == [3])
        #expect(machine.nextDeadline == nil)
    }

    @Test("a new connection goes to who waits")
    func connecting() {
        var machine = machine(2)
        #expect(machine.acquire(1, now: time(0)) == .wait)
        #expect(machine.connected(1, now: time(10)) == .lease(1, to: 1))
        #expect(machine.connected(0, now: time(10)) == .none)
    }

    @Test("callers wait through a short outage and are refused at once in a long one")
    func outage() {
        var machine = machine(1, connected: 1)
        machine.lost(0, now: time(0))
        #expect(machine.liveCount == 0)
        #expect(machine.acquire(1, now: time(900)) == .wait)
        #expect(machine.acquire(2, now: time(1001)) == .refuse(.down))
        #expect(machine.connected(0, now: time(1100)) == .lease(0, to: 1))
        #expect(machine.acquire(3, now: time(1100)) == .wait)
    }

    @Test("a lost connection is used by nobody until it is connected again")
    func lost() {
        var machine = machine(2, connected: 2)
        machine.lost(1, now: time(0))
        #expect(machine.acquire(1, now: time(0)) == .lease(0))
        // Lost while in use: coming back later changes nothing.
        machine.lost(0, now: time(1))
        #expect(machine.released(0, isReusable: true, now: time(2)) == .none)
        machine.lost(0, now: time(3))
        #expect(machine.acquire(2, now: time(3)) == .wait)
        #expect(machine.connected(0, now: time(4)) == .lease(0, to: 2))
    }

    @Test("a broken or an old connection is replaced")
    func replacement() {
        var machine = machine(2, connected: 2)
        #expect(machine.acquire(1, now: time(0)) == .lease(1))
        #expect(machine.released(1, isReusable: false, now: time(0)) == .replace(1))
        #expect(machine.liveCount == 1)
        #expect(machine.acquire(2, now: time(0)) == .lease(0))
        #expect(machine.released(0, isReusable: true, now: time(60_000)) == .none)
        #expect(machine.acquire(3, now: time(60_001)) == .lease(0))
        #expect(machine.released(0, isReusable: true, now: time(60_001)) == .replace(0))
        // Its age counts from the new connection.
        #expect(machine.connected(0, now: time(60_002)) == .none)
        #expect(machine.acquire(4, now: time(60_002)) == .lease(0))
        #expect(machine.released(0, isReusable: true, now: time(110_000)) == .none)
    }

    @Test("after the stop nobody is served, and connections close as they come back")
    func stop() {
        var machine = machine(3, connected: 2)
        _ = machine.acquire(1, now: time(0))
        let stopped = machine.stop()
        #expect(stopped.waiters == [])
        #expect(stopped.slots == [0])
        #expect(machine.acquire(2, now: time(0)) == .refuse(.stopped))
        #expect(machine.released(1, isReusable: true, now: time(1)) == .close(1))
        #expect(machine.connected(2, now: time(1)) == .close(2))
        #expect(machine.liveCount == 0)
    }

    @Test("the stop names those who wait")
    func stopWithWaiters() {
        var machine = machine(1)
        _ = machine.acquire(5, now: time(0))
        _ = machine.acquire(6, now: time(0))
        #expect(machine.stop().waiters == [5, 6])
        #expect(machine.waitersDue(now: time(9999)) == [])
    }
}

@Suite("Backoff")
struct BackoffTests {
    @Test("doubles up to its longest, with a random half")
    func steps() {
        let backoff = Backoff(first: .milliseconds(100), longest: .seconds(1))
        for (failures, whole) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (99, 1000)] {
            var low = LowestRandom()
            var high = HighestRandom()
            #expect(backoff.delay(afterFailures: failures, using: &low) == .milliseconds(whole / 2))
            let longest = backoff.delay(afterFailures: failures, using: &high)
            #expect(longest > .milliseconds(whole * 99 / 100) && longest <= .milliseconds(whole))
        }
    }

    private struct LowestRandom: RandomNumberGenerator {
        // Zero would be drawn again for ever: it is what Int64.random(in:) rejects.
        mutating func next() -> UInt64 { 1 }
    }

    private struct HighestRandom: RandomNumberGenerator {
        mutating func next() -> UInt64 { .max }
    }
}

@Suite("ConnectionBudget")
struct ConnectionBudgetTests {
    let standard = ConnectionBudget(readers: 2, pool: 5, dedicated: 1, processes: 9)
    let server = ConnectionBudget.ServerLimits(
        maxConnections: 100,
        reserved: 3,
        roleLimit: -1,
        databaseLimit: -1
    )

    @Test("the defaults fit a server with its defaults")
    func defaults() throws {
        let configuration = try PostgresConfiguration(url: "postgres://h", applicationName: "t")
        #expect(configuration.budget == standard)
        #expect(standard.own <= PostgresConfiguration.connectionBudget)
        #expect(standard.verdictWithoutServer == .fits)
        #expect(standard.verdict(server) == .fits)
    }

    @Test("a process may not hold more than its share")
    func ownLimit() {
        var budget = standard
        budget.pool = 6
        #expect(budget.verdictWithoutServer == .fits)
        budget.pool = 7
        guard case .impossible(let text) = budget.verdictWithoutServer else {
            Issue.record("10 connections were accepted")
            return
        }
        #expect(text.contains("10 connections") && text.contains("9"))
        budget.pool = 0
        #expect(budget.verdictWithoutServer != .fits)
    }

    @Test("a server too small for all is told, one too small for this process is refused")
    func serverLimits() {
        var small = server
        small.maxConnections = 74
        guard case .tight(let tight) = standard.verdict(small) else {
            Issue.record("72 of 71 were accepted")
            return
        }
        #expect(tight.contains("72") && tight.contains("71"))
        small.maxConnections = 10
        guard case .impossible(let text) = standard.verdict(small) else {
            Issue.record("8 of 7 were accepted")
            return
        }
        #expect(text.contains("max_connections 10"))
        var limited = server
        limited.roleLimit = 5
        #expect(standard.verdict(limited) != .fits)
        limited = server
        limited.databaseLimit = 20
        guard case .tight(let database) = standard.verdict(limited) else {
            Issue.record("the database's limit was ignored")
            return
        }
        #expect(database.contains("database"))
    }
}

@Suite("ServerVersion")
struct ServerVersionTests {
    @Test("15 will do, 14 will not, and the message says both")
    func minimum() {
        #expect(ServerVersion(150_004).fault(minimum: 15) == nil)
        #expect(ServerVersion(180_000).fault(minimum: 15) == nil)
        #expect(
            ServerVersion(140_011).fault(minimum: 15)
                == "PostgreSQL 15 or newer is needed, and the server is 14.11"
        )
    }
}
