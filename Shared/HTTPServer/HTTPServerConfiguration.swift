public import Tracing

/// How long a connection may take over what; every one is absolute, not per read.
///
/// A deadline per read never cuts a client that sends one byte a second.
public struct HTTPDeadlines: Sendable, Hashable {
    /// From the connection's or the request's first byte to the end of the head.
    public var head: Duration = .seconds(10)
    /// From the end of the head to the end of the body.
    public var body: Duration = .seconds(30)
    /// From one answer to the next request.
    public var idle: Duration = .seconds(75)
    /// From the end of the body to the answer; then 503, and the handler's task is cancelled.
    public var handler: Duration = .seconds(30)
    /// How long a client may take nothing, or less than ``HTTPServerConfiguration/outputLowWater``.
    public var writeStall: Duration = .seconds(15)
    /// How long to read on after the last answer, so that the client gets to see it.
    public var linger: Duration = .seconds(1)
    /// Between two comments on a quiet event stream.
    public var streamComment: Duration = .seconds(15)

    /// The deadlines of the published interface.
    public init() {}

    /// No deadline that begins with a request is sooner than this after its beginning, so a timer
    /// that always looks this far ahead at most need not be moved when a request begins.
    var shortest: Duration {
        min(head, body, idle, handler, writeStall, streamComment)
    }
}

/// How a server listens, and what it allows.
public struct HTTPServerConfiguration: Sendable {
    /// The address to listen on, or `*` for all of both families.
    public var host = "0.0.0.0"
    /// The port; 0 lets the kernel choose.
    public var port = 0
    /// Connections that the kernel keeps waiting.
    public var backlog = 1024
    /// Whether other processes may listen on the same port.
    public var sharesPort = true
    /// Limits on heads and framing.
    public var limits = HTTPLimits()
    /// Limits in time.
    public var deadlines = HTTPDeadlines()
    /// Connections at once; one more is answered 503 and closed.
    ///
    /// Fewer when the process may not have so many descriptors.
    public var connectionsMax = 16_384
    /// Descriptors of the process that no connection may take, so that clients cannot keep it from
    /// its stores.
    public var descriptorReserve = 128
    /// Connections of one peer (an IPv4 address or an IPv6 /64) at once; nil is half of all, so
    /// that no single peer can keep the others out.
    public var connectionsPerPeerMax: Int?
    /// Connections that are only there to be told that there are too many; above it they are closed
    /// without a word.
    public var refusalsMax = 64
    /// Bytes read ahead of the request in progress before a connection is no longer read.
    public var inputHighWater = 64 * 1024
    /// Bytes of answers not taken by the client before its next request waits.
    public var outputHighWater = 256 * 1024
    /// Bytes of answers not taken at which its next request is begun again.
    public var outputLowWater = 64 * 1024
    /// Bytes of unfinished request bodies of all connections; above it 503.
    public var bodyBytesMax = 128 * 1024 * 1024
    /// Bytes read and thrown away after the last answer.
    public var lingerBytesMax = 1024 * 1024
    /// How long a request waits for an earlier one with its idempotency key before 409.
    public var idempotencyWait: Duration = .seconds(5)
    /// Which requests are recorded as traces.
    public var sampler = TraceSampler.whenAsked

    /// The published defaults.
    public init() {}

    /// The same for a process that may have `descriptors`.
    func limited(to descriptors: Int) -> HTTPServerConfiguration {
        var limited = self
        limited.connectionsMax = max(1, min(connectionsMax, descriptors - descriptorReserve))
        return limited
    }

    var perPeerMax: Int { connectionsPerPeerMax ?? max(1, connectionsMax / 2) }
}
