/// A request that brought no usable answer.
public struct HTTPClientError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What went wrong.
    public enum Code: Sendable, Hashable {
        /// The URL cannot be requested: malformed, another scheme than http(s), with user or password.
        case badURL
        /// A header field may not be sent as given.
        case badHeader
        /// The address guard forbids the destination.
        case refusedAddress
        /// The client's places and its queue are full.
        case tooManyTransfers
        /// The client was stopped.
        case stopped
        /// The calling task was cancelled.
        case cancelled
        /// The host's name has no address, or the name server did not say.
        case resolve
        /// No connection: refused, unreachable.
        case connect
        /// No encrypted connection: handshake or certificate.
        case tls
        /// A deadline passed; the message names which.
        case timeout
        /// The connection broke or closed before the answer was complete.
        case reset
        /// The answer is larger than allowed.
        case tooLarge
        /// The peer does not answer in HTTP/1.
        case badResponse
        /// Anything else, for example no memory.
        case failed
    }

    /// What went wrong.
    public let code: Code
    /// Whether at least one byte of the request was handed to the network.
    ///
    /// `false` is a proof: the peer cannot have acted on the request. `true` says nothing about the
    /// peer: it may or may not have.
    public let mayHaveBeenSent: Bool
    /// A sentence for logs; holds no path, query, header field or body.
    public let message: String

    /// An error of a request.
    public init(_ code: Code, mayHaveBeenSent: Bool = false, _ message: String) {
        self.code = code
        self.mayHaveBeenSent = mayHaveBeenSent
        self.message = message
    }

    /// Code, whether it may have been sent, and message.
    public var description: String {
        "\(code)\(mayHaveBeenSent ? " (may have been sent)" : ""): \(message)"
    }
}
