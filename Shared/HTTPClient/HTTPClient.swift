public import EventLoop

/// Sends HTTP/1.1 requests with curl on the event loop.
///
/// Limits, deadlines and the address guard are described at ``HTTPClientConfiguration``,
/// ``OutgoingRequest`` and ``AddressGuard``. Redirects are answers like any other, there are no
/// cookies, and the environment's proxies and a .netrc are ignored.
///
/// A transfer is prepared, waits for a place if need be, runs, and ends once: by curl, by a deadline,
/// by cancellation or by ``stop()``.
@LoopActor
public final class HTTPClient {
    private let configuration: HTTPClientConfiguration
    private let multi: CurlMulti
    private var queue: TransferQueue
    private var transfers: [UInt64: Transfer] = [:]
    private var idle: [CurlEasy] = []
    private var lastID: UInt64 = 0
    private var isStopped = false

    /// A client with its own connections.
    public init(_ configuration: HTTPClientConfiguration = HTTPClientConfiguration()) {
        self.configuration = configuration
        multi = CurlMulti(configuration)
        queue = TransferQueue(
            inFlightLimit: configuration.transfersInFlightLimit,
            perHostLimit: configuration.transfersPerHostLimit,
            waitingLimit: configuration.transfersWaitingLimit
        )
        multi.onEnd = { [weak self] transfer, result in
            self?.end(transfer, transfer.outcome(of: result))
        }
    }

    isolated deinit {
        // Whoever waits in `send` keeps the client alive, so nobody does.
        stop()
    }

    /// Sends `request` and waits for the whole answer, whatever its status is.
    ///
    /// - Throws: `HTTPClientError`; cancelling the task ends the transfer with `cancelled`.
    public func send(_ request: OutgoingRequest) async throws(HTTPClientError) -> IncomingResponse {
        lastID += 1
        let transfer = try Transfer(lastID, request, configuration)
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { begin(transfer, $0) }
        } onCancel: {
            // This runs on the canceller's thread.
            Task { @LoopActor in self.abort(transfer, .cancelled, "the task was cancelled") }
        }
        return try outcome.get()
    }

    /// Ends every transfer with `stopped` and closes every connection; later sends fail.
    public func stop() {
        guard !isStopped else { return }
        isStopped = true
        // Those that wait go first: the end of a running one would start them.
        for transfer in transfers.values.sorted(by: { $1.easy != nil && $0.easy == nil }) {
            abort(transfer, .stopped, "the client was stopped")
        }
        idle.removeAll()
        multi.close()
    }

    /// What the client holds at the moment.
    public var readings: HTTPClientReadings {
        HTTPClientReadings(
            inFlight: queue.inFlight,
            waiting: queue.waiting,
            idleHandles: idle.count,
            sockets: multi.socketCount
        )
    }

    // MARK: The life of a transfer

    private func begin(
        _ transfer: Transfer,
        _ continuation: CheckedContinuation<Transfer.Outcome, Never>
    ) {
        func refuse(_ code: HTTPClientError.Code, _ message: String) {
            continuation.resume(returning: .failure(HTTPClientError(code, message)))
        }
        if isStopped { return refuse(.stopped, "the client was stopped") }
        if Task.isCancelled { return refuse(.cancelled, "the task was cancelled") }
        switch queue.admit(transfer.id, host: transfer.url.origin) {
        case .refuse:
            return refuse(
                .tooManyTransfers,
                "\(transfer.url.host): no place, and the queue is full"
            )
        case .wait:
            break
        case .start:
            start(transfer)
        }
        transfer.continuation = continuation
        transfers[transfer.id] = transfer
        watchDeadlines(of: transfer)
    }

    private func start(_ transfer: Transfer) {
        let easy = idle.popLast() ?? CurlEasy(configuration, sockets: multi.context)
        transfer.easy = easy
        easy.prepare(
            transfer.request,
            url: transfer.url,
            lines: transfer.lines,
            transfer: transfer.context
        )
        multi.add(easy)
    }

    private func watchDeadlines(of transfer: Transfer) {
        let request = transfer.request
        let isAnswering = transfer.collector.hasBegun
        let span =
            isAnswering
            ? request.totalTimeout : min(request.firstByteTimeout, request.totalTimeout)
        transfer.timer = EventLoop.shared.schedule(at: transfer.started + span) { [weak self] in
            guard let self else { return }
            if transfer.collector.hasBegun && !isAnswering {
                watchDeadlines(of: transfer)
            } else {
                let what = isAnswering || span == request.totalTimeout ? "whole answer" : "answer"
                abort(transfer, .timeout, "\(transfer.url.host): no \(what) within \(span)")
            }
        }
    }

    private func abort(_ transfer: Transfer, _ code: HTTPClientError.Code, _ message: String) {
        guard transfers[transfer.id] != nil else { return }
        let mayHaveBeenSent = transfer.mayHaveBeenSent
        end(transfer, .failure(HTTPClientError(code, mayHaveBeenSent: mayHaveBeenSent, message)))
    }

    /// The one place where a transfer ends.
    private func end(_ transfer: Transfer, _ outcome: Transfer.Outcome) {
        transfers[transfer.id] = nil
        if let timer = transfer.timer { EventLoop.shared.cancel(timer) }
        if let easy = transfer.easy {
            multi.remove(easy)
            transfer.easy = nil
            recycle(easy)
            startNext(after: transfer)
        } else {
            _ = queue.withdraw(transfer.id, host: transfer.url.origin)
        }
        // Last: the resumed code may send the next request at once.
        let continuation = transfer.continuation
        transfer.continuation = nil
        continuation?.resume(returning: outcome)
    }

    private func recycle(_ easy: CurlEasy) {
        guard !isStopped, idle.count < configuration.idleHandlesLimit else { return }
        easy.clear()
        idle.append(easy)
    }

    private func startNext(after transfer: Transfer) {
        guard let id = queue.finished(host: transfer.url.origin) else { return }
        guard let next = transfers[id] else { preconditionFailure("a queued transfer is known") }
        start(next)
    }
}
