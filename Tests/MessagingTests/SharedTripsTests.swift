import EventLoop
import HTTPServer
import Testing

@testable import messaging

/// Trips that the test lets begin and end.
@LoopActor
private final class Ferry {
    typealias Answers = [Result<Int, any Error>]

    private(set) var departures: [[Int]] = []
    private var returns: [CheckedContinuation<Answers, Never>] = []
    private(set) lazy var trips = SharedTrips<Int, Int>(limits) { await self.travel($0) }
    private let limits: SharedTrips<Int, Int>.Limits

    nonisolated init(_ limits: SharedTrips<Int, Int>.Limits) {
        self.limits = limits
    }

    private func travel(_ requests: [Int]) async -> Answers {
        departures.append(requests)
        return await withCheckedContinuation { returns.append($0) }
    }

    func go(_ request: Int, items: Int = 1, bytes: Int = 0) -> Task<Int, any Error> {
        Task { try await trips.go(request, items: items, bytes: bytes) }
    }

    /// Ends the oldest trip under way: everybody gets ten times what they asked.
    func bringBack(_ departure: Int) {
        returns.removeFirst().resume(returning: departures[departure].map { .success($0 * 10) })
    }

    func bringBack(_ answers: Answers) {
        returns.removeFirst().resume(returning: answers)
    }

    /// Lets the newest trip end before the oldest.
    func swap() { returns.swapAt(0, returns.count - 1) }

    /// Waits until so many trips have begun.
    func departed(_ count: Int) async throws {
        let deadline = MonotonicTime.now() + .seconds(5)
        while departures.count < count, MonotonicTime.now() < deadline {
            try await EventLoop.shared.sleep(for: .milliseconds(1))
        }
        #expect(departures.count == count)
    }

    /// Lets everything happen that can.
    func settle() async throws { try await EventLoop.shared.sleep(for: .milliseconds(20)) }
}

@Suite("SharedTrips")
struct SharedTripsTests {
    private struct Lost: Error {}

    private static func ferry(trips: Int, items: Int = 64, bytes: Int = 1000) -> Ferry {
        Ferry(
            .init(trips: trips, itemsMax: items, bytesMax: bytes, waitingMax: 5)
        )
    }

    @Test("a trip takes at most 64 items or 256 KiB, and 2,048 requests wait")
    func defaults() {
        let limits = SharedTrips<Int, Int>.Limits(trips: 1)
        #expect(limits.itemsMax == 64)
        #expect(limits.bytesMax == 262_144)
        #expect(limits.waitingMax == 2048)
    }

    @Test("one that comes alone goes at once; what comes meanwhile makes the next trip together")
    @LoopActor func gathering() async throws {
        let ferry = SharedTripsTests.ferry(trips: 1)
        let first = ferry.go(1)
        try await ferry.departed(1)
        let others = [ferry.go(2), ferry.go(3), ferry.go(4)]
        try await ferry.settle()
        #expect(ferry.departures == [[1]])
        ferry.bringBack(0)
        #expect(try await first.value == 10)
        try await ferry.departed(2)
        #expect(ferry.departures == [[1], [2, 3, 4]])
        ferry.bringBack(1)
        for (other, answer) in zip(others, [20, 30, 40]) {
            #expect(try await other.value == answer)
        }
    }

    @Test("what the same turn of the loop brings goes together")
    @LoopActor func turn() async throws {
        let ferry = SharedTripsTests.ferry(trips: 2)
        let all = [ferry.go(1), ferry.go(2), ferry.go(3)]
        try await ferry.departed(1)
        #expect(ferry.departures == [[1, 2, 3]])
        ferry.bringBack(0)
        for one in all { _ = try await one.value }
        // Nothing is left behind that would keep the next one from going.
        let next = ferry.go(4)
        try await ferry.departed(2)
        ferry.bringBack(1)
        #expect(try await next.value == 40)
    }

    @Test("no more trips are under way than may, and one that is slow holds up no other")
    @LoopActor func lanes() async throws {
        let ferry = SharedTripsTests.ferry(trips: 2)
        let slow = ferry.go(1)
        try await ferry.departed(1)
        let quick = ferry.go(2)
        try await ferry.departed(2)
        let third = ferry.go(3)
        try await ferry.settle()
        #expect(ferry.departures == [[1], [2]])
        // The second one comes back while the first is still away.
        ferry.swap()
        ferry.bringBack([.success(20)])
        #expect(try await quick.value == 20)
        try await ferry.departed(3)
        ferry.swap()
        ferry.bringBack([.success(30)])
        #expect(try await third.value == 30)
        ferry.bringBack([.success(10)])
        #expect(try await slow.value == 10)
    }

    @Test("a trip takes no more items and bytes than it may; what is larger goes alone")
    @LoopActor func limits() async throws {
        let ferry = SharedTripsTests.ferry(trips: 1, items: 3, bytes: 100)
        let all = [
            ferry.go(1, items: 2), ferry.go(2, items: 2), ferry.go(3, bytes: 60),
            ferry.go(4, bytes: 60), ferry.go(5, items: 9, bytes: 500),
        ]
        for trip in 0..<4 {
            try await ferry.departed(trip + 1)
            ferry.bringBack(trip)
        }
        #expect(ferry.departures == [[1], [2, 3], [4], [5]])
        for (one, answer) in zip(all, [10, 20, 30, 40, 50]) {
            #expect(try await one.value == answer)
        }
    }

    @Test("each gets its own answer, errors as well")
    @LoopActor func errors() async throws {
        let ferry = SharedTripsTests.ferry(trips: 1)
        let all = [ferry.go(1), ferry.go(2)]
        try await ferry.departed(1)
        ferry.bringBack([.failure(Lost()), .success(20)])
        await #expect(throws: Lost.self) { try await all[0].value }
        #expect(try await all[1].value == 20)
    }

    @Test("above so many that wait, the next one is told to come again")
    @LoopActor func refusal() async throws {
        let ferry = SharedTripsTests.ferry(trips: 1)
        let first = ferry.go(0)
        try await ferry.departed(1)
        let waiting = (1...5).map { ferry.go($0) }
        try await ferry.settle()
        await #expect(throws: Problem.self) { try await ferry.go(6).value }
        ferry.bringBack(0)
        _ = try await first.value
        try await ferry.departed(2)
        ferry.bringBack(1)
        for one in waiting { _ = try await one.value }
    }
}
