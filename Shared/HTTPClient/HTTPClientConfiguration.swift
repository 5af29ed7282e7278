/// The limits of an ``HTTPClient`` and what it says of itself.
public struct HTTPClientConfiguration: Sendable {
    /// The defaults.
    public init() {}

    /// The User-Agent of requests that bring none of their own.
    public var userAgent = "switchboard"

    /// How many transfers curl works on at once; more wait.
    public var transfersInFlightLimit = 256

    /// How many of them may go to one scheme, host and port, so that a peer that hangs cannot take
    /// all places.
    public var transfersPerHostLimit = 64

    /// How many transfers may wait for a place; more end as `tooManyTransfers`.
    public var transfersWaitingLimit = 1024

    /// How many unused connections are kept open.
    public var idleConnectionsLimit = 64

    /// How long an unused connection may be reused; below the 30 s after which our own servers close
    /// it, so that a request seldom meets the close.
    public var idleConnectionLifetime: Duration = .seconds(20)

    /// How long an unused connection may be reused by what must not be sent twice.
    ///
    /// Common servers keep one for 5 s or longer (the defaults of Apache and Node), and what meets the
    /// close may have been sent.
    public var onceConnectionLifetime: Duration = .seconds(3)

    /// How many unused curl handles are kept.
    public var idleHandlesLimit = 64

    /// Where the certificate authorities are that vouch for servers.
    public enum CertificateAuthorities: Sendable, Hashable {
        /// A directory as `openssl rehash` makes it.
        case directory(String)
        /// One PEM file; read at the first TLS connection and once a day.
        case file(String)
    }

    /// Whom to trust.
    ///
    /// Curl's own default, the system's one file, is read again for every TLS connection (19 ms of
    /// the loop's time, measured); a directory costs only the one certificate that is asked for.
    public var certificateAuthorities = CertificateAuthorities.directory("/etc/ssl/certs")

    /// Addresses of names (`host:port:address`), so that a test decides what a name resolves to.
    package var nameOverrides: [String] = []

    /// What a guarded URL may look like, so that a test can leave only the address rules standing
    /// between the client and a server on loopback.
    package var guardRules = AddressGuard.Rules()
}

/// What an ``HTTPClient`` holds at the moment.
public struct HTTPClientReadings: Sendable, Hashable {
    /// Transfers that curl works on.
    public let inFlight: Int
    /// Transfers that wait for a place.
    public let waiting: Int
    /// Unused curl handles.
    public let idleHandles: Int
    /// Sockets that the loop watches for curl.
    public let sockets: Int

    package init(inFlight: Int, waiting: Int, idleHandles: Int, sockets: Int) {
        self.inFlight = inFlight
        self.waiting = waiting
        self.idleHandles = idleHandles
        self.sockets = sockets
    }
}
