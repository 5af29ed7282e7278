/// A result that comes later: told once, and waited for by one.
@LoopActor
public final class Promise<Value: Sendable> {
    private var settled: Result<Value, any Error>?
    private var waiter: CheckedContinuation<Result<Value, any Error>, Never>?

    /// Nothing is known yet.
    public init() {}

    /// Tells what came of it; whoever waits goes on.
    public func settle(_ result: Result<Value, any Error>) {
        settled = result
        waiter?.resume(returning: result)
        waiter = nil
    }

    /// What came of it, at once or when it is known.
    public var result: Result<Value, any Error> {
        get async {
            if let settled { return settled }
            return await withCheckedContinuation { waiter = $0 }
        }
    }
}
