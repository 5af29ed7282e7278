import Domain
import Testing

@Suite("WriteBatchesTests")
struct WriteBatchesTests {
    typealias Batches = WriteBatches<String, Int>

    static func limits(items: Int = 3, bytes: Int = 100, waiting: Int = 7) -> WriteBatchLimits {
        var limits = WriteBatchLimits()
        limits.itemsMax = items
        limits.bytesMax = bytes
        limits.waitingMax = waiting
        return limits
    }

    @Test("a batch is at most 64 writes or 256 KiB, and 256 writes of a key wait")
    func defaults() {
        let limits = WriteBatchLimits()
        #expect(limits.itemsMax == 64)
        #expect(limits.bytesMax == 262_144)
        #expect(limits.waitingMax == 256)
    }

    @Test("what comes while a batch waits joins it, and is taken in the order in which it came")
    func joins() {
        var batches = Batches()
        #expect(batches.add(1, bytes: 10, to: "a") == .began(1))
        #expect(batches.add(2, bytes: 10, to: "a") == .joined)
        #expect(batches.add(3, bytes: 10, to: "a") == .joined)
        #expect(batches.take(1, of: "a") == [1, 2, 3])
        #expect(batches.keyCount == 0)
    }

    @Test("what comes after a batch was taken begins the next one")
    func next() {
        var batches = Batches()
        _ = batches.add(1, bytes: 10, to: "a")
        _ = batches.take(1, of: "a")
        #expect(batches.add(2, bytes: 10, to: "a") == .began(2))
        #expect(batches.take(2, of: "a") == [2])
    }

    @Test("keys do not mix")
    func keys() {
        var batches = Batches()
        #expect(batches.add(1, bytes: 10, to: "a") == .began(1))
        #expect(batches.add(2, bytes: 10, to: "b") == .began(2))
        #expect(batches.take(1, of: "b").isEmpty)
        #expect(batches.take(2, of: "b") == [2])
        #expect(batches.take(1, of: "a") == [1])
    }

    @Test("a full batch is followed by another, each taken by the one who began it")
    func full() {
        var batches = Batches(limits: Self.limits(items: 2))
        let admissions = (1...5).map { batches.add($0, bytes: 1, to: "a") }
        #expect(admissions == [.began(1), .joined, .began(2), .joined, .began(3)])
        // Whoever began the second may give up first: the others keep their own.
        #expect(batches.take(2, of: "a") == [3, 4])
        #expect(batches.take(1, of: "a") == [1, 2])
        #expect(batches.take(3, of: "a") == [5])
        #expect(batches.take(3, of: "a").isEmpty)
    }

    @Test("bytes fill a batch as well, and one write over the limit is a batch of its own")
    func bytes() {
        var batches = Batches(limits: Self.limits(bytes: 100))
        #expect(batches.add(1, bytes: 60, to: "a") == .began(1))
        #expect(batches.add(2, bytes: 40, to: "a") == .joined)
        #expect(batches.add(3, bytes: 1, to: "a") == .began(2))
        #expect(batches.add(4, bytes: 500, to: "a") == .began(3))
        #expect(batches.add(5, bytes: 1, to: "a") == .began(4))
    }

    @Test("more than may wait are refused, and there is room again when a batch was taken")
    func bounded() {
        var batches = Batches(limits: Self.limits(items: 3, waiting: 7))
        for item in 1...7 { #expect(batches.add(item, bytes: 1, to: "a") != .refused) }
        #expect(batches.add(8, bytes: 1, to: "a") == .refused)
        #expect(batches.add(8, bytes: 1, to: "b") == .began(4))
        #expect(batches.take(1, of: "a") == [1, 2, 3])
        #expect(batches.add(8, bytes: 1, to: "a") == .joined)
    }
}
