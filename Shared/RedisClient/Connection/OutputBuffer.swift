/// Bytes on their way to a socket: written at the end, taken from the front.
///
/// It keeps its memory, so that a steady state allocates nothing.
struct OutputBuffer: ~Copyable {
    /// What one large command made bigger than this is given back when it is empty.
    static let bytesKept = 64 * 1024

    private var memory: UnsafeMutableRawBufferPointer
    private var start = 0
    private var end = 0

    init() { memory = UnsafeMutableRawBufferPointer(start: nil, count: 0) }

    deinit { memory.deallocate() }

    /// How many bytes wait.
    var count: Int { end - start }
    var isEmpty: Bool { start == end }
    /// How many bytes it owns.
    var capacity: Int { memory.count }

    /// The bytes that wait, in their order; until the next change.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[start..<end]) }

    /// Lets `body` write up to `limit` bytes at the end; it returns how many it wrote.
    @inline(__always)
    mutating func append(
        upTo limit: Int,
        _ body: (UnsafeMutableRawPointer) -> Int
    ) {
        if memory.count - end < limit { makeRoom(for: limit) }
        guard let base = memory.baseAddress else { return }
        let written = body(base + end)
        assert(written <= limit, "the memory behind is somebody else's")
        end += written
    }

    /// Takes `count` bytes off the front.
    mutating func consume(_ count: Int) {
        start += count
        guard start == end else { return }
        start = 0
        end = 0
        if memory.count > OutputBuffer.bytesKept { move(to: 0) }
    }

    /// Room for `more` bytes at the end: where the bytes that are gone stood, or in more memory.
    private mutating func makeRoom(for more: Int) {
        // Moving only what is smaller than the room it gives keeps the cost per byte constant.
        if start > count, memory.count - count >= more {
            memory.copyMemory(from: bytes)
            end -= start
            start = 0
        } else {
            move(to: max(count + more, 2 * memory.count, 1024))
        }
    }

    private mutating func move(to capacity: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: capacity,
            alignment: MemoryLayout<UInt64>.alignment
        )
        larger.copyMemory(from: bytes)
        memory.deallocate()
        memory = larger
        end -= start
        start = 0
    }
}
