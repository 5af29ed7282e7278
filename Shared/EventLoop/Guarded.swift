public import Synchronization

/// A value behind a mutex that the thread sanitizer understands.
///
/// The standard library's `Mutex` waits on a futex inside code that the sanitizer does not see, so
/// everything it guards is reported as a race. The atomic says the same once more, in our own code:
/// what was done before the mutex was given back has happened before it is taken again. On x86-64
/// and with no sanitizer that is a plain load and a plain store.
public struct Guarded<Value: ~Copyable>: ~Copyable, Sendable {
    @usableFromInline let mutex: Mutex<Value>
    @usableFromInline let order = Atomic<Bool>(false)

    /// Guards `value`.
    public init(_ value: consuming sending Value) {
        mutex = Mutex(value)
    }

    /// Calls `body` with the value while nobody else has it.
    ///
    /// Part of its callers: as a generic call it costs ten times what it does.
    @inlinable
    public borrowing func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        try mutex.withLock { value throws(Failure) in
            _ = order.load(ordering: .acquiring)
            defer { order.store(true, ordering: .releasing) }
            return try body(&value)
        }
    }
}
