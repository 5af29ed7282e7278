/// Collects an answer while it arrives and says when it grows too large.
struct ResponseCollector {
    /// Bytes of all heads and trailers of one answer, interim answers (1xx) included.
    static let headBytesLimit = 64 * 1024
    /// Header fields of one head.
    static let fieldsLimit = 200

    /// Which limit the answer passed.
    enum Excess: Hashable {
        case head
        case body
    }

    private enum Part {
        case head
        case body
    }

    let bodyLimit: Int
    private(set) var excess: Excess?
    private(set) var head = ResponseHead()
    private(set) var body: [UInt8] = []
    private var headBytes = 0
    private var part = Part.head

    init(bodyLimit: Int) {
        self.bodyLimit = bodyLimit
    }

    /// Whether anything has arrived.
    var hasBegun: Bool { headBytes > 0 }

    /// Whether the head has ended; curl takes a connection that closes inside it for an answer.
    var hasWholeHead: Bool { part == .body }

    /// Takes one line of a head, or of the trailers; `false` means: stop receiving.
    mutating func received(line: UnsafeBufferPointer<UInt8>) -> Bool {
        headBytes += line.count
        guard headBytes <= ResponseCollector.headBytesLimit else { return overflow(.head) }
        if line.starts(with: "HTTP/".utf8) {
            // The head of the real answer follows that of an interim one.
            head.removeAll()
            part = .head
            return true
        }
        if line.elementsEqual("\r\n".utf8) || line.elementsEqual("\n".utf8) {
            part = .body
            return true
        }
        // Trailers are counted and dropped.
        if part == .body { return true }
        guard head.starts.count < ResponseCollector.fieldsLimit else { return overflow(.head) }
        head.append(line: line)
        return true
    }

    /// Takes a piece of the body; `false` means: stop receiving.
    mutating func received(body piece: UnsafeBufferPointer<UInt8>) -> Bool {
        guard piece.count <= bodyLimit - body.count else { return overflow(.body) }
        body.append(contentsOf: piece)
        return true
    }

    private mutating func overflow(_ excess: Excess) -> Bool {
        self.excess = excess
        return false
    }
}
