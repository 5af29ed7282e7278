internal import EventLoop

/// A text of several statements that runs outside of pipeline mode.
@LoopActor
final class ScriptRun {
    private var continuation: CheckedContinuation<Result<Void, PostgresError>, Never>?
    var failure: PostgresError?

    init(_ continuation: CheckedContinuation<Result<Void, PostgresError>, Never>) {
        self.continuation = continuation
    }

    func end(_ outcome: Result<Void, PostgresError>) {
        let waiting = continuation
        continuation = nil
        waiting?.resume(returning: outcome)
    }
}

extension Connection {
    /// Runs statements separated by semicolons; only on a connection with nothing in flight.
    func run(script text: String) async throws(PostgresError) {
        precondition(machine.count == 0 && self.script == nil, "a script needs an idle connection")
        // A C string would end there, and half of the file would have been run.
        guard !text.utf8.contains(0) else {
            throw PostgresError(.encoding, "script", "the text holds a NUL character")
        }
        let outcome = await withCheckedContinuation { continuation in
            self.script = ScriptRun(continuation)
            guard isOpen, link.exitPipelineMode(), link.sendScript(text) else {
                close(PostgresError(.connection, "script", link.message))
                return
            }
            flushOutput()
        }
        script = nil
        try outcome.get()
    }

    func readScript() {
        guard let script else { return }
        while !link.isBusy {
            guard let result = link.nextResult() else {
                guard link.enterPipelineMode() else {
                    close(PostgresError(.connection, "script", link.message))
                    return
                }
                script.end(script.failure.map { .failure($0) } ?? .success(()))
                return
            }
            switch result.kind {
            case .success: break
            case .error: script.failure = script.failure ?? Connection.error(of: result.fields)
            case .aborted, .end, .sync, .other:
                close(PostgresError(.connection, "script", "the script asks for COPY"))
                return
            }
        }
    }
}
