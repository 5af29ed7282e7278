/// The isolation of everything that touches the event loop's state.
///
/// One process has one loop thread; this global actor's executor is that loop, so the compiler
/// refuses code that reaches loop state from anywhere else. A plain `Task {}` inside isolated code
/// stays on the loop; code that leaves it (`@concurrent`, `Task.detached`) can only come back
/// through `await`.
@globalActor
public actor LoopActor {
    /// The one instance; its executor is ``EventLoop/shared``.
    public static let shared = LoopActor()

    /// The loop, as the executor of this actor.
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        EventLoop.shared.asUnownedSerialExecutor()
    }

    /// Runs `operation` as isolated code when already on the loop's thread; traps anywhere else.
    ///
    /// For C callbacks and readiness handlers, where no Swift task is running.
    public static func assumeIsolated<Value: Sendable>(
        _ operation: @LoopActor () throws -> Value
    ) rethrows -> Value {
        EventLoop.shared.preconditionOnLoop()
        typealias Isolated = @LoopActor () throws -> Value
        typealias Plain = () throws -> Value
        // The same trick as MainActor.assumeIsolated: the isolation of a synchronous function is
        // not part of its calling convention.
        return try withoutActuallyEscaping(operation) { (escapable: @escaping Isolated) in
            try unsafeBitCast(escapable, to: Plain.self)()
        }
    }

    /// The same for a function that captures nothing: the hot callbacks of C libraries.
    ///
    /// What it needs comes as its argument, so that a call allocates nothing.
    @inlinable
    public static func assumeIsolated<Argument: Sendable>(
        _ argument: Argument,
        _ operation: @escaping @LoopActor (Argument) -> Void
    ) {
        EventLoop.shared.preconditionOnLoop()
        typealias Plain = (Argument) -> Void
        unsafeBitCast(operation, to: Plain.self)(argument)
    }
}
