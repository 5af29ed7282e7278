import EventLoop
import Testing

@testable import RedisClient

@Suite("PendingCommands")
struct PendingCommandsTests {
    private func at(_ milliseconds: Int64) -> MonotonicTime {
        MonotonicTime(nanoseconds: milliseconds * 1_000_000)
    }

    private func pending(
        _ entries: [(name: String, sent: Int64, deadline: Int64)]
    ) -> PendingCommands<String> {
        var pending = PendingCommands<String>(countLimit: 4, bytesLimit: 100)
        for entry in entries {
            pending.append(entry.name, bytes: 10, now: at(entry.sent), deadline: at(entry.deadline))
        }
        return pending
    }

    @Test("answers go to the commands in the order of sending")
    func order() {
        var pending = pending([("a", 0, 250), ("b", 0, 100), ("c", 1, 250)])
        #expect(pending.takeFirst(now: at(2)) == "a")
        #expect(pending.takeFirst(now: at(2)) == "b")
        #expect(pending.takeFirst(now: at(2)) == "c")
        #expect(pending.takeFirst(now: at(2)) == nil)
        #expect(pending.isEmpty)
        #expect(pending.bytes == 0)
    }

    @Test("an overdue command keeps its place, so that later answers are not shifted")
    func overdueKeepsPlace() {
        var pending = pending([("a", 0, 250), ("b", 0, 100), ("c", 1, 250)])
        #expect(pending.takeOverdue(now: at(99)) == [])
        #expect(pending.takeOverdue(now: at(100)) == ["b"])
        #expect(pending.takeOverdue(now: at(101)) == [])
        #expect(pending.count == 3)
        #expect(pending.takeFirst(now: at(120)) == "a")
        #expect(pending.takeFirst(now: at(120)) == nil)
        #expect(pending.takeFirst(now: at(120)) == "c")
    }

    @Test("the next look is the earliest live deadline")
    func nextLook() {
        var pending = pending([])
        #expect(pending.nextLook == .distantFuture)
        pending = self.pending([("a", 0, 250), ("b", 0, 100)])
        #expect(pending.nextLook == at(100))
        _ = pending.takeOverdue(now: at(100))
        #expect(pending.nextLook == at(250))
    }

    @Test("a server is silent when an answer is overdue and nothing came for a second")
    func silence() {
        var pending = pending([("a", 1000, 1250), ("b", 1000, 1250)])
        #expect(!pending.isSilent(now: at(9000)))
        #expect(pending.takeOverdue(now: at(1250)) == ["a", "b"])
        #expect(pending.nextLook == at(2000))
        #expect(!pending.isSilent(now: at(1999)))
        #expect(pending.isSilent(now: at(2000)))
        #expect(pending.takeFirst(now: at(1900)) == nil)
        #expect(!pending.isSilent(now: at(2899)))
        #expect(pending.isSilent(now: at(2900)))
        #expect(pending.takeFirst(now: at(2900)) == nil)
        #expect(!pending.isSilent(now: at(9000)))
    }

    @Test("a long wait that ends without its answer is silence at once")
    func longWait() {
        var pending = pending([("blpop", 0, 30_000)])
        #expect(pending.takeOverdue(now: at(30_000)) == ["blpop"])
        #expect(pending.isSilent(now: at(30_000)))
    }

    @Test("there is room up to both limits and not beyond, overdue commands included")
    func limits() {
        var pending = pending([("a", 0, 1), ("b", 0, 1), ("c", 0, 1)])
        #expect(pending.hasRoom(count: 1, bytes: 70))
        #expect(!pending.hasRoom(count: 1, bytes: 71))
        #expect(!pending.hasRoom(count: 2, bytes: 0))
        _ = pending.takeOverdue(now: at(2))
        #expect(!pending.hasRoom(count: 2, bytes: 0))
        _ = pending.takeFirst(now: at(3))
        #expect(pending.hasRoom(count: 2, bytes: 80))
    }
}
