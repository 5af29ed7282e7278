internal import CHiredis

/// Takes answers apart with hiredis' parser, which makes each ``RedisValue`` as it is read.
///
/// The parser asks for an object per value and hands an array's object to its elements; here the
/// stack of arrays that are not full yet is that knowledge, and what the parser gets is only a mark.
final class ReplyReader {
    /// How deep arrays may be nested; 0.14 refuses the eighth by itself, 1.x would take a thousand.
    private static let nestingLimit = 8
    /// How many elements an array is made ready for before the first is there.
    private static let elementsReserved = 1024

    private let reader: UnsafeMutablePointer<redisReader>
    /// The parser keeps a pointer to its functions.
    private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
    private var open: [OpenArray] = []
    private var value: RedisValue?
    /// The first two bytes that came.
    private var start: [UInt8] = []
    /// Bytes of the answer that is not whole yet.
    private(set) var unfinished = 0

    private struct OpenArray {
        var elements: [RedisValue]
        let count: Int
    }

    /// - Throws: ``RedisError`` when there is no memory.
    init() throws(RedisError) {
        functions = .allocate(capacity: 1)
        switchboard_set_functions(functions, makeString, makeArray, makeInteger, makeNull)
        guard let made = redisReaderCreateWithFunctions(functions) else {
            functions.deallocate()
            throw RedisError(.notConnected, message: "hiredis had no memory for its parser")
        }
        reader = made
        reader.pointee.privdata = Unmanaged.passUnretained(self).toOpaque()
    }

    deinit {
        redisReaderFree(reader)
        functions.deallocate()
    }

    /// Whether any byte came.
    var hasHeard: Bool { !start.isEmpty }

    /// Takes bytes as they came.
    func feed(_ bytes: UnsafeRawBufferPointer) {
        if start.count < 2 { start += bytes.prefix(2 - start.count) }
        unfinished += bytes.count
        // A failure is kept by the parser, and ``next()`` tells it.
        _ = redisReaderFeed(
            reader,
            bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
            bytes.count
        )
    }

    /// The next whole answer; nil when more bytes are needed.
    ///
    /// - Throws: ``RedisError`` when the bytes are no answers; nothing can be read after that.
    func next() throws(RedisError) -> RedisValue? {
        guard unfinished > 0 else { return nil }
        var mark: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &mark) == REDIS_OK else {
            throw RedisError(.protocolViolation, message: isAlert ? ReplyReader.alert : words)
        }
        guard mark != nil else { return nil }
        guard let value else {
            throw RedisError(.protocolViolation, message: "an answer of an unknown kind")
        }
        self.value = nil
        unfinished = reader.pointee.len - reader.pointee.pos
        return value
    }

    private static let alert = "the server speaks TLS; write rediss:// in place of redis://"

    /// Whether a server with TLS refuses plain text: the record of an alert (RFC 8446, 5.1).
    private var isAlert: Bool { start.elementsEqual([0x15, 0x03]) }

    private var words: String {
        guard open.count < ReplyReader.nestingLimit else {
            return "arrays nested deeper than \(ReplyReader.nestingLimit)"
        }
        return withUnsafeBytes(of: &reader.pointee.errstr) { buffer in
            String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    // MARK: Making values

    /// What stands for every object: it is compared with nothing, and nobody looks behind it.
    private static var mark: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 1) }

    fileprivate static func of(_ task: UnsafePointer<redisReadTask>?) -> ReplyReader? {
        task?.pointee.privdata.map {
            Unmanaged<ReplyReader>.fromOpaque($0).takeUnretainedValue()
        }
    }

    fileprivate func add(_ made: RedisValue) -> UnsafeMutableRawPointer? {
        var made = made
        while let last = open.indices.last {
            open[last].elements.append(made)
            guard open[last].elements.count == open[last].count else { return ReplyReader.mark }
            made = .array(open.removeLast().elements)
        }
        value = made
        return ReplyReader.mark
    }

    fileprivate func beginArray(of count: Int) -> UnsafeMutableRawPointer? {
        guard count > 0 else { return add(.array([])) }
        // The parser calls it a lack of memory, and takes nothing more.
        guard open.count < ReplyReader.nestingLimit else { return nil }
        var elements: [RedisValue] = []
        elements.reserveCapacity(min(count, ReplyReader.elementsReserved))
        open.append(OpenArray(elements: elements, count: count))
        return ReplyReader.mark
    }
}

// What the parser calls.

private let makeString: switchboard_create_string = { task, start, count in
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    let value: RedisValue =
        switch task?.pointee.type {
        case REDIS_REPLY_STATUS: .status(String(decoding: bytes, as: UTF8.self))
        case REDIS_REPLY_ERROR: .error(String(decoding: bytes, as: UTF8.self))
        default: .string(Array(bytes))
        }
    return ReplyReader.of(task)?.add(value)
}

private let makeArray: switchboard_create_array = { task, count in
    ReplyReader.of(task)?.beginArray(of: Int(count))
}

private let makeInteger: switchboard_create_integer = { task, number in
    ReplyReader.of(task)?.add(.int(Int64(number)))
}

private let makeNull: switchboard_create_nil = { task in ReplyReader.of(task)?.add(.null) }
