internal import CLibCurl
internal import EventLoop

/// One request on its way: what was asked, what has arrived, who waits for it.
@LoopActor
final class Transfer {
    typealias Outcome = Result<IncomingResponse, HTTPClientError>

    let id: UInt64
    let request: OutgoingRequest
    let url: TargetURL
    let lines: [String]
    let started = MonotonicTime.now()
    /// Whether the guard's address rules hold: guarded, and the host is not excepted.
    private let isGuarded: Bool

    var continuation: CheckedContinuation<Outcome, Never>?
    var timer: LoopTimer?
    /// There while curl works on the transfer.
    var easy: CurlEasy?
    private(set) var collector: ResponseCollector
    private var refusedAddresses = 0
    private var openedSockets = 0
    /// Whether a connection was ever ready for the request.
    ///
    /// Until then the handle's counters are those of the transfer before.
    private var hasConnection = false
    /// Whether curl was kept from sending the request again.
    private var wasRepeatRefused = false

    init(
        _ id: UInt64,
        _ request: OutgoingRequest,
        _ configuration: HTTPClientConfiguration
    ) throws(HTTPClientError) {
        self.id = id
        self.request = request
        url = try TargetURL(request.url)
        switch request.destination {
        case .trusted:
            isGuarded = false
        case .guarded(let allowHosts):
            try AddressGuard.check(url, allowHosts, configuration.guardRules)
            isGuarded = !allowHosts.allows(host: url.host, port: url.port)
        }
        lines = try RequestFields.lines(of: request, userAgent: configuration.userAgent)
        collector = ResponseCollector(bodyLimit: request.responseLimit)
    }

    /// Curl's context pointer for callbacks; the client keeps the transfer while curl has it.
    var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    /// Whether a byte of the request left; see ``HTTPClientError/mayHaveBeenSent``.
    var mayHaveBeenSent: Bool { hasConnection && (easy?.requestBytes ?? 0) > 0 }

    // MARK: Called by curl

    func received(line: UnsafeBufferPointer<UInt8>) -> Bool { collector.received(line: line) }

    func received(body: UnsafeBufferPointer<UInt8>) -> Bool { collector.received(body: body) }

    func mayConnect(to peer: IPAddress?) -> Bool {
        if isGuarded && peer?.isPublic != true {
            refusedAddresses += 1
            return false
        }
        openedSockets += 1
        return true
    }

    /// Also asked for a connection that another request had opened, perhaps an unguarded one; and once
    /// more when curl is about to send the request again on another connection.
    func mayUse(peer: IPAddress?) -> Bool {
        if isGuarded && peer?.isPublic != true {
            refusedAddresses += 1
            return false
        }
        if request.delivery != .repeatable && mayHaveBeenSent {
            wasRepeatRefused = true
            return false
        }
        hasConnection = true
        return true
    }

    // MARK: Outcome

    func outcome(of result: CURLcode) -> Outcome {
        guard let easy else { preconditionFailure("curl ended a transfer that it does not have") }
        if result == CURLE_OK && collector.hasWholeHead && easy.status >= 200 {
            let response = IncomingResponse(
                status: easy.status,
                body: collector.body,
                took: MonotonicTime.now() - started,
                head: collector.head
            )
            return .success(response)
        }
        let code = result == CURLE_OK ? .reset : code(for: result)
        let message = message(for: code, result, easy)
        return .failure(HTTPClientError(code, mayHaveBeenSent: mayHaveBeenSent, message))
    }

    private func code(for result: CURLcode) -> HTTPClientError.Code {
        if collector.excess != nil { return .tooLarge }
        switch result {
        case CURLE_ABORTED_BY_CALLBACK where wasRepeatRefused: return .reset
        case CURLE_ABORTED_BY_CALLBACK where refusedAddresses > 0: return .refusedAddress
        case CURLE_COULDNT_CONNECT where refusedAddresses > 0 && openedSockets == 0:
            return .refusedAddress
        case CURLE_URL_MALFORMAT: return .badURL
        case CURLE_COULDNT_RESOLVE_HOST: return .resolve
        case CURLE_COULDNT_CONNECT: return .connect
        case CURLE_OPERATION_TIMEDOUT: return .timeout
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CIPHER, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR,
            CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_ENGINE_INITFAILED, CURLE_USE_SSL_FAILED:
            return .tls
        case CURLE_GOT_NOTHING, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_PARTIAL_FILE:
            return .reset
        case CURLE_UNSUPPORTED_PROTOCOL, CURLE_WEIRD_SERVER_REPLY, CURLE_BAD_CONTENT_ENCODING:
            return .badResponse
        default: return .failed
        }
    }

    private func message(
        for code: HTTPClientError.Code,
        _ result: CURLcode,
        _ easy: CurlEasy
    ) -> String {
        switch collector.excess {
        case .head: "\(url.host): the head of the answer is too large"
        case .body: "\(url.host): the answer is over \(request.responseLimit) bytes"
        case nil where code == .refusedAddress: "\(url.host) is not at a public address"
        case nil where wasRepeatRefused: "\(url.host): closed before the answer"
        case nil where result == CURLE_OK: "\(url.host): closed within the head of the answer"
        case nil: "\(url.host): \(easy.message(for: result))"
        }
    }
}
