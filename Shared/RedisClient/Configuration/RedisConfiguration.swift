internal import EventLoop

/// Where the server is and how a client behaves.
public struct RedisConfiguration: Sendable {
    /// What a service does without Redis.
    public enum Mode: String, Sendable, Hashable, CaseIterable {
        /// It is not ready.
        case required
        /// It works with what it has.
        case optional
        /// It never tries.
        case disabled
    }

    /// What the connection is for; each may have a server of its own.
    public enum Purpose: Sendable, Hashable {
        /// Locks, counters, streams: everything without a server of its own.
        case general
        /// Caches, on `REDIS_CACHE_URL` where that is given: there eviction is welcome.
        case cache
        /// Queues, on `REDIS_QUEUE_URL` where that is given: there eviction loses work.
        case queue

        var variable: String? {
            switch self {
            case .general: nil
            case .cache: "REDIS_CACHE_URL"
            case .queue: "REDIS_QUEUE_URL"
            }
        }
    }

    /// A server's address.
    public enum Endpoint: Sendable, Hashable, CustomStringConvertible {
        /// A host by name or address, and a port.
        case tcp(host: String, port: Int)
        /// A socket in the file system.
        case unix(path: String)

        /// The address as messages show it.
        public var description: String {
            switch self {
            case .tcp(let host, let port):
                host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            case .unix(let path): path
            }
        }
    }

    /// What the service does without Redis.
    public var mode: Mode
    /// Whether neither URL nor host was given, so that a server at the default address is only a
    /// chance: it gets ``probeTimeout`` at start.
    public let isProbe: Bool
    /// The server, or where a directory was first asked for it.
    public var endpoint: Endpoint
    /// Who tells where the server is; nil when it is ``endpoint``.
    public var directory: RedisDirectory?
    /// The password of sentinels, which have users of their own; nil for none.
    public var sentinelPassword: String?
    /// How connections are encrypted; nil for plain text.
    public var tls: RedisTLS?
    /// The slot of a cluster whose node is the server, by ``serving(_:)``; nil for any node.
    public private(set) var slot: Int?
    /// The user; nil for the default one.
    public var username: String?
    /// The password; nil for none.
    public var password: String?
    /// The database number.
    public var database: Int
    /// What the server's list of clients shows, without spaces; nil for nothing.
    public var clientName: String?

    /// How long a command waits for its answer unless it says otherwise.
    public var deadline: Duration = .milliseconds(250)
    /// How long one attempt to connect may take, from the look-up to the last answer of the
    /// greeting.
    public var attemptTimeout: Duration = .seconds(1)
    /// After this long without a word from the server a quiet connection is tried.
    public var idleLimit: Duration = .seconds(5)
    /// How many commands may wait for answers; one more is refused.
    public var pendingLimit = 16_384
    /// How many bytes of commands may wait for answers; more is refused.
    public var pendingBytesLimit = 32 * 1024 * 1024

    /// How long a server at the default address gets to answer at start.
    public static let probeTimeout: Duration = .milliseconds(500)

    /// A server without password.
    public init(
        endpoint: Endpoint = .tcp(host: "localhost", port: 6379),
        mode: Mode = .required
    ) {
        self.mode = mode
        self.endpoint = endpoint
        isProbe = false
        database = 0
    }

    /// The server that `url` names.
    ///
    /// - Parameters:
    ///   - variable: what to name in errors.
    ///   - files: whom to trust and what to show, when the URL asks for TLS.
    public init(
        url: String,
        variable: String = "REDIS_URL",
        mode: Mode = .required,
        files: RedisTLS.Files = RedisTLS.Files()
    ) throws(RedisConfigurationError) {
        let url = try RedisURL(url, variable: variable)
        try self.init(mode: mode, isProbe: false, url: url, files: files)
    }

    init(
        mode: Mode,
        isProbe: Bool,
        url: RedisURL,
        files: RedisTLS.Files
    ) throws(RedisConfigurationError) {
        self.mode = mode
        self.isProbe = isProbe
        endpoint = url.endpoint
        directory = url.directory
        username = url.username
        password = url.password
        database = url.database
        if url.isSecure { tls = try RedisTLS(files) }
        if isProbe { attemptTimeout = RedisConfiguration.probeTimeout }
    }

    /// The same; on a cluster for the node that has the slot of `key`.
    ///
    /// For a ``RedisBlockingConnection``, which is with one node: all keys that are used on it need
    /// the same tag. A ``RedisClient`` finds the node of each key, and a ``RedisSubscriber`` hears from
    /// any node what was published at all.
    public func serving(_ key: String) -> RedisConfiguration {
        var copy = self
        copy.slot = RedisKeySlot.slot(of: key)
        return copy
    }

    /// Whether both name the same keys.
    public func isSameServer(as other: RedisConfiguration) -> Bool {
        endpoint == other.endpoint && database == other.database && directory == other.directory
            && (tls == nil) == (other.tls == nil)
    }

    /// The same for one node of the cluster.
    func node(_ endpoint: Endpoint) -> RedisConfiguration {
        var copy = self
        copy.endpoint = endpoint
        copy.directory = nil
        return copy
    }

    /// Whether the keys are spread over the nodes of a cluster.
    public var isCluster: Bool {
        if case .cluster = directory { true } else { false }
    }

    /// The server as messages show it.
    var place: String { directory?.description ?? endpoint.description }
}

extension RedisConfiguration: CustomStringConvertible, CustomDebugStringConvertible {
    /// User, server and database; never the password.
    public var description: String {
        "\(username.map { "\($0)@" } ?? "")\(place)/\(database) \(mode.rawValue)"
            + (tls == nil ? "" : " TLS")
    }

    /// The same.
    public var debugDescription: String { description }
}
