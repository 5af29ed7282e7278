internal import EventLoop

/// One attempt to connect to one address, driven by the loop.
///
/// libpq may change its socket between two polls, even to another with the same number, so the
/// descriptor is watched anew after each.
@LoopActor
final class ConnectAttempt: Channel {
    private let link: LibPQ
    private var registration: Registration?
    private var timer: LoopTimer?
    private var continuation: CheckedContinuation<Result<Void, PostgresError>, Never>?

    /// Connects, or ends with libpq's reason.
    static func run(
        keywords: [(String, String)],
        timeout: Duration
    ) async throws(PostgresError) -> LibPQ {
        let link = try LibPQ(keywords: keywords)
        let attempt = ConnectAttempt(link)
        let outcome = await withCheckedContinuation { continuation in
            attempt.start(timeout, continuation)
        }
        do {
            try outcome.get()
        } catch {
            link.finish()
            throw error
        }
        return link
    }

    private init(_ link: LibPQ) { self.link = link }

    private func start(
        _ timeout: Duration,
        _ continuation: CheckedContinuation<Result<Void, PostgresError>, Never>
    ) {
        self.continuation = continuation
        if link.isBad {
            end(.failure(PostgresError(.connection, "connect", link.message)))
            return
        }
        timer = EventLoop.shared.schedule(after: timeout) { [weak self] in
            let text = "no answer within \(timeout.milliseconds) ms"
            self?.end(.failure(PostgresError(.timeout, "connect", text)))
        }
        // As if the last poll had said so (the manual, 34.1).
        wait(for: .write)
    }

    func ready(_ readiness: Readiness) {
        unwatch()
        guard continuation != nil else { return }
        switch link.poll() {
        case .waitsToRead: wait(for: .read)
        case .waitsToWrite: wait(for: .write)
        case .connected: end(.success(()))
        case .failed: end(.failure(PostgresError(.connection, "connect", link.message)))
        }
    }

    private func wait(for interest: Interest) {
        guard let descriptor = link.descriptor else {
            end(.failure(PostgresError(.connection, "connect", link.message)))
            return
        }
        do {
            registration = try EventLoop.shared.add(
                self,
                descriptor: descriptor,
                interest: interest
            )
        } catch {
            end(.failure(PostgresError(.connection, "connect", error.description)))
        }
    }

    private func unwatch() {
        if let registration { EventLoop.shared.remove(registration) }
        registration = nil
    }

    private func end(_ outcome: Result<Void, PostgresError>) {
        unwatch()
        if let timer { EventLoop.shared.cancel(timer) }
        timer = nil
        let waiting = continuation
        continuation = nil
        waiting?.resume(returning: outcome)
    }
}
