internal import JSON
internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPClient
internal import Logging
internal import Platform

/// Delivers events to the tenants' endpoints, each until it was taken.
///
/// Apart from the sending of messages. An endpoint that is slow keeps two places, and the endpoints of
/// one tenant half of them: the others' deliveries go on meanwhile.
@LoopActor
final class WebhookSender {
    /// Between two looks when nobody wakes it.
    static let pollInterval: Duration = .seconds(1)
    /// Deliveries at once.
    static let places = WebhookRepository.Places(all: 8, ofEndpoint: 2, ofTenant: 4)
    /// The first pause after a failure; it doubles up to the longest one.
    nonisolated static let waitMin: Duration = .seconds(5)
    nonisolated static let waitMax: Duration = .seconds(3600)
    /// The longest time that an endpoint may take.
    static let timeout: Duration = .seconds(10)

    private let repository: WebhookRepository
    private let http: HTTPClient
    private let allowedHosts: AllowedHosts
    private let logger: Logger
    private let wakeup = Wakeup()
    /// The endpoints of what is under way, each once for each delivery.
    private var underWay: [WebhookRepository.Endpoint] = []
    private var isStopped = false
    private var worker: Task<Void, Never>?

    init(
        _ repository: WebhookRepository,
        http: HTTPClient,
        allowedHosts: AllowedHosts,
        logger: Logger
    ) {
        self.repository = repository
        self.http = http
        self.allowedHosts = allowedHosts
        self.logger = logger
    }

    /// Starts looking.
    func start() {
        worker = Task { await run() }
    }

    /// Takes nothing more; a delivery under way that does not end in time comes again.
    func stop() async {
        isStopped = true
        wakeup.wake()
        await worker?.value
    }

    /// Looks at once.
    func wake() { wakeup.wake() }

    private func run() async {
        while !isStopped {
            do {
                try await claim()
            } catch {
                logger.warning("webhooks could not be read", metadata: ["error": "\(error)"])
            }
            if !isStopped { await wakeup.rest(atMost: WebhookSender.pollInterval) }
        }
    }

    private func claim() async throws {
        let places = WebhookSender.places
        guard underWay.count < places.all else { return }
        for delivery in try await repository.take(places, underWay: underWay) {
            underWay.append(delivery.endpoint)
            begin(delivery)
        }
    }

    private func begin(_ delivery: WebhookRepository.Delivery) {
        Task {
            do {
                try await deliver(delivery)
            } catch {
                // Its lease runs out, and it comes again.
                logger.warning("a webhook was not recorded", metadata: ["error": "\(error)"])
            }
            if let index = underWay.firstIndex(of: delivery.endpoint) { underWay.remove(at: index) }
            wake()
        }
    }

    private func deliver(_ delivery: WebhookRepository.Delivery) async throws {
        let ending = await attempt(delivery)
        let state = try await repository.finish(
            delivery,
            ending,
            wait: WebhookSender.wait(attempt: delivery.attempts)
        )
        guard !ending.isDelivered else { return }
        logger.log(
            level: state == "disabled" ? .error : .info,
            state == "disabled" ? "a webhook is disabled" : "a webhook was not taken",
            metadata: [
                "tenant": "\(delivery.tenant)", "webhook": "\(delivery.code)",
                "error": "\(ending.error ?? "")",
            ]
        )
    }

    /// The pause after the `attempt`-th failure.
    nonisolated static func wait(attempt: Int) -> Duration {
        min(waitMin * (1 << min(max(0, attempt - 1), 10)), waitMax)
    }

    private func attempt(_ delivery: WebhookRepository.Delivery) async -> WebhookRepository.Ending {
        do {
            let secret = try repository.box.open(
                delivery.secret,
                context: WebhookRepository.context(delivery.tenant, delivery.code)
            )
            var request = OutgoingRequest(
                .post,
                delivery.url,
                fields: WebhookSignature.fields(
                    id: delivery.id.text,
                    body: delivery.body,
                    secret: secret,
                    seconds: WallClock.milliseconds() / 1000
                ),
                body: delivery.body
            )
            request.delivery = .once
            request.destination = .guarded(allowHosts: allowedHosts)
            request.totalTimeout = WebhookSender.timeout
            let status = try await http.send(request).status
            return WebhookRepository.Ending(
                isDelivered: (200..<300).contains(status),
                httpStatus: status,
                error: (200..<300).contains(status) ? nil : "http_\(status)"
            )
        } catch let error as HTTPClientError {
            return WebhookRepository.Ending(error: "http_client_\(error.code)")
        } catch {
            return WebhookRepository.Ending(error: "secret_does_not_open")
        }
    }
}
