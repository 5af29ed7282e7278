internal import CHiredis
internal import EventLoop

// What hiredis calls, and what it hands out. Its contract (async.c):
// - `redisAsyncHandleRead`, `…HandleWrite` and `redisAsyncFree` may free the context; after the
//   disconnect callback, or the connect callback with an error, it is gone.
// - Whatever ends a connection, each waiting command is called once with no reply.
// - Inside a reply callback `redisAsyncFree` only marks the context; it goes when that returns.
// - `cleanup` comes before the descriptor is closed; before the last replies in 1.x, after them in
//   0.14, so that it can only mean "stop watching".

typealias HiredisContext = UnsafeMutablePointer<redisAsyncContext>

extension RedisConnection {
    /// The connection that owns a context; the loop keeps it alive until `cleanup`, and whoever
    /// calls into hiredis until that call returns.
    private nonisolated static func from(_ data: UnsafeMutableRawPointer?) -> RedisConnection? {
        data.map { Unmanaged<RedisConnection>.fromOpaque($0).takeUnretainedValue() }
    }

    fileprivate nonisolated static func call(
        _ data: UnsafeMutableRawPointer?,
        _ body: @escaping @LoopActor (RedisConnection) -> Void
    ) {
        guard let connection = from(data) else { return }
        LoopActor.assumeIsolated(connection, body)
    }

    /// The same with what a reply callback was handed.
    fileprivate nonisolated static func call(
        _ data: UnsafeMutableRawPointer?,
        with value: RedisValue?,
        _ body: @escaping @LoopActor ((RedisConnection, RedisValue?)) -> Void
    ) {
        guard let connection = from(data) else { return }
        LoopActor.assumeIsolated((connection, value), body)
    }

    /// Hands this connection to hiredis; before the connect callback is set, as that asks for
    /// writability at once.
    func attach(to context: HiredisContext) {
        let data = Unmanaged.passUnretained(self).toOpaque()
        context.pointee.data = data
        context.pointee.ev.data = data
        context.pointee.ev.addRead = { RedisConnection.call($0) { $0.wantsRead() } }
        context.pointee.ev.addWrite = { RedisConnection.call($0) { $0.wantsWrite() } }
        context.pointee.ev.delWrite = { RedisConnection.call($0) { $0.hasWritten() } }
        context.pointee.ev.cleanup = { RedisConnection.call($0) { $0.stopWatching() } }
        _ = redisAsyncSetConnectCallback(context) { context, status in
            RedisConnection.call(context?.pointee.data) {
                $0.connectEnded(isOK: status == REDIS_OK)
            }
        }
        _ = redisAsyncSetDisconnectCallback(context) { context, _ in
            RedisConnection.call(context?.pointee.data) { $0.disconnected() }
        }
    }

    /// Gives the encoded command to hiredis; false when it takes none any more.
    func append(
        _ command: borrowing CommandEncoder,
        isSubscription: Bool,
        to context: HiredisContext
    ) -> Bool {
        let callback = isSubscription ? takePush : takeReply
        return command.bytes.withUnsafeBytes { buffer in
            let start = buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
            let count = buffer.count - 1
            return redisAsyncFormattedCommand(context, callback, nil, start, count) == REDIS_OK
        }
    }
}

private typealias ReplyCallback =
    @convention(c) (HiredisContext?, UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Void

// The reply is copied here, as hiredis frees it when the callback returns, and as a pointer may not
// cross into isolated code.

private let takeReply: ReplyCallback = { context, reply, _ in
    let value = RedisValue.copy(of: reply)
    RedisConnection.call(context?.pointee.data, with: value) { $0.0.replied($0.1) }
}

private let takePush: ReplyCallback = { context, reply, _ in
    let value = RedisValue.copy(of: reply)
    RedisConnection.call(context?.pointee.data, with: value) { $0.0.pushed($0.1) }
}

/// The library's words for what went wrong; in the context's own buffer, as the copy that
/// `errstr` points to is made only after the callbacks.
func errorMessage(of context: HiredisContext) -> String {
    withUnsafeBytes(of: &context.pointee.c.errstr) { buffer in
        String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
    }
}

extension RedisValue {
    /// A copy of what a callback is handed; nil when there is no reply.
    fileprivate static func copy(of reply: UnsafeMutableRawPointer?) -> RedisValue? {
        reply.map { RedisValue($0.assumingMemoryBound(to: redisReply.self)) }
    }

    private init(_ reply: UnsafePointer<redisReply>) {
        switch reply.pointee.type {
        case REDIS_REPLY_NIL: self = .null
        case REDIS_REPLY_INTEGER: self = .int(Int64(reply.pointee.integer))
        case REDIS_REPLY_STRING: self = .string(Array(RedisValue.bytes(of: reply)))
        case REDIS_REPLY_STATUS: self = .status(RedisValue.text(of: reply))
        case REDIS_REPLY_ERROR: self = .error(RedisValue.text(of: reply))
        case REDIS_REPLY_ARRAY:
            let elements = UnsafeBufferPointer(
                start: reply.pointee.element,
                count: reply.pointee.elements
            )
            self = .array(elements.map { $0.map { RedisValue($0) } ?? .null })
        case let type: self = .error("ERR reply of the unknown type \(type)")
        }
    }

    private static func bytes(of reply: UnsafePointer<redisReply>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: reply.pointee.str, count: reply.pointee.len)
    }

    private static func text(of reply: UnsafePointer<redisReply>) -> String {
        String(decoding: bytes(of: reply), as: UTF8.self)
    }
}
