public import EventLoop
internal import FoundationEssentials
internal import Tracing

/// An HTTP/1.1 server on the loop.
///
/// It owns a listener and the connections; what to answer is the ``Router``'s affair.
@LoopActor
public final class HTTPServer {
    let configuration: HTTPServerConfiguration
    let pipeline: RequestPipeline
    let observer: (any HTTPServerObserver)?
    /// What the server is doing now.
    public internal(set) var readings = HTTPServerReadings()
    var serializer = ResponseSerializer()
    var identifiers: IdentifierSource
    /// Lent to one connection after the other, so that an answer needs no memory of its own.
    var outputBuffer: [UInt8] = []
    private(set) var isDraining = false

    private var listener: Listener?
    private(set) var connections: [HTTPConnection] = []
    private var perPeer: [SocketAddress: Int] = [:]
    private var refusing = 0
    private var drained: CheckedContinuation<Void, Never>?
    private var wallSecond: Int64 = 0
    private var wallReadAt = MonotonicTime(nanoseconds: .min)

    /// Finds the problem that a handler's error is to a caller; nil for a fault of ours.
    public typealias KnownErrors = @Sendable (any Error) -> Problem?

    /// A server that does not listen yet.
    ///
    /// - Parameter known: what callers see of errors that handlers throw; any other answers 500.
    public init(
        configuration: HTTPServerConfiguration,
        router: Router,
        authenticator: (any Authenticator)? = nil,
        idempotency: (any IdempotencyStore)? = nil,
        observer: (any HTTPServerObserver)? = nil,
        known: @escaping KnownErrors = { Problem(known: $0) }
    ) {
        self.configuration = configuration.limited(to: DescriptorLimit.raise())
        self.observer = observer
        identifiers = IdentifierSource(sampler: configuration.sampler)
        pipeline = RequestPipeline(
            router: router,
            authenticator: authenticator,
            store: idempotency,
            idempotencyWait: configuration.idempotencyWait,
            known: known
        )
    }

    isolated deinit {
        listener?.close()
    }

    /// Where the server listens; nil before ``start()``.
    public var address: SocketAddress? { listener?.address }

    /// Begins to listen and returns the port.
    ///
    /// - Throws: `EventLoopError` when the address cannot be had.
    @discardableResult
    public func start() async throws -> Int {
        let address = try await SocketAddress.resolve(
            host: configuration.host,
            port: configuration.port
        )
        let listener = try Listener(
            address: address,
            backlog: configuration.backlog,
            sharesPort: configuration.sharesPort
        )
        try listener.start(self)
        self.listener = listener
        return listener.address.port
    }

    /// Takes no new work, lets the work in progress end, and returns whether all of it did.
    ///
    /// Connections that the kernel has taken already are served once more; event streams are
    /// closed; every answer says `Connection: close`. What is left after `limit` is cut.
    @discardableResult
    public func drain(within limit: Duration) async -> Bool {
        guard !isDraining else { return connections.isEmpty }
        listener?.close()
        isDraining = true
        for connection in connections { connection.drain() }
        guard !connections.isEmpty else { return true }
        var isComplete = true
        let timer = EventLoop.shared.schedule(after: limit) { [self] in
            isComplete = false
            for connection in connections { connection.cut(.drain) }
        }
        await withCheckedContinuation { drained = $0 }
        EventLoop.shared.cancel(timer)
        return isComplete
    }

    // MARK: Connections

    /// A connection has ended.
    func ended(_ connection: HTTPConnection) {
        let last = connections.removeLast()
        if last !== connection {
            connections[connection.index] = last
            last.index = connection.index
        }
        readings.connections -= 1
        if connection.isRefusal {
            refusing -= 1
        } else {
            leave(connection.peer.peerGroup)
        }
        if isDraining && connections.isEmpty {
            drained?.resume()
            drained = nil
        }
    }

    private func leave(_ peer: SocketAddress) {
        guard let count = perPeer[peer] else { return }
        perPeer[peer] = count > 1 ? count - 1 : nil
    }

    private func add(_ socket: consuming StreamSocket, isRefusal: Bool) {
        let connection = HTTPConnection(
            socket,
            server: self,
            index: connections.count,
            isRefusal: isRefusal
        )
        connections.append(connection)
        readings.connections += 1
        connection.start()
    }

    // MARK: The clock on the wall

    /// Seconds since 1970, read at most four times a second.
    var wallClock: Int64 {
        let now = EventLoop.shared.now
        if now > wallReadAt + .milliseconds(250) {
            wallReadAt = now
            wallSecond = Int64(Date().timeIntervalSince1970)
        }
        return wallSecond
    }
}

extension HTTPServer: ListenerDelegate {
    /// Takes a connection, or turns it away when there are too many.
    public func accepted(_ socket: consuming StreamSocket) {
        readings.accepted += 1
        let peer = socket.peer.peerGroup
        let isOver =
            connections.count - refusing >= configuration.connectionsMax
            || perPeer[peer, default: 0] >= configuration.perPeerMax
        guard isOver else {
            perPeer[peer, default: 0] += 1
            return add(socket, isRefusal: false)
        }
        readings.refused += 1
        observer?.cut(.refused)
        guard refusing < configuration.refusalsMax else { return }
        refusing += 1
        add(socket, isRefusal: true)
    }

    /// Tells a connection off for which there is no descriptor; it is closed on return.
    public func refused(_ socket: consuming StreamSocket) {
        readings.accepted += 1
        readings.refused += 1
        observer?.cut(.refused)
        // What was received and not read would turn the close into a reset, which takes the answer
        // away from the client again.
        _ = socket.receive { _, _ in }
        let answer = refusalAnswer()
        _ = socket.send(answer.span)
        socket.shutdownSending()
    }

    /// The 503 for a connection too many.
    func refusalAnswer() -> [UInt8] {
        let problem = Problem.unavailable(
            "there are too many connections",
            code: "too_many_connections"
        )
        let id = identifiers.requestID()
        let response = problem.response(requestID: id.text, instance: "/")
        var bytes: [UInt8] = []
        appendHead(
            of: response,
            id: id,
            framing: .length(response.bytes.count),
            version: .http11,
            keepsAlive: false,
            to: &bytes
        )
        bytes.append(contentsOf: response.bytes)
        return bytes
    }

    /// Appends a response's head, with the fields that every answer has.
    func appendHead(
        of response: Response,
        id: RequestID,
        framing: ResponseFraming,
        version: HTTPVersion,
        keepsAlive: Bool,
        to output: inout [UInt8]
    ) {
        serializer.beginHead(
            status: response.status,
            framing: framing,
            version: version,
            keepsAlive: keepsAlive,
            now: wallClock,
            to: &output
        )
        if response.fields.isEmpty, response.contentType == "application/json" {
            output.append(contentsOf: HTTPServer.commonJSON)
        } else {
            if let type = response.contentType {
                output.append(contentsOf: HTTPServer.contentTypeName)
                output.append(contentsOf: type.utf8)
                output.append(contentsOf: HTTPServer.lineEnd)
            }
            let saysCaching = response.fields.contains("Cache-Control")
            output.append(contentsOf: saysCaching ? HTTPServer.common : HTTPServer.commonNoStore)
        }
        id.append(to: &output)
        output.append(contentsOf: HTTPServer.lineEnd)
        if !response.fields.isEmpty { response.fields.appendLines(to: &output) }
        output.append(contentsOf: HTTPServer.lineEnd)
    }

    private static let contentTypeName = Array("Content-Type: ".utf8)
    private static let common = Array(
        "X-Content-Type-Options: nosniff\r\nX-Request-Id: ".utf8
    )
    private static let commonNoStore = Array(
        "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nX-Request-Id: ".utf8
    )
    /// All of it at once, for what most answers are.
    private static let commonJSON = Array("Content-Type: application/json\r\n".utf8) + commonNoStore
    private static let lineEnd: [UInt8] = [.carriageReturn, .lineFeed]
}
