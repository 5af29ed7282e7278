/// The limits on what a peer may send before a request is refused.
///
/// The limit on a body is not here: the route decides it, once the head is known.
public struct HTTPLimits: Sendable, Hashable {
    /// Bytes of a method; a longer one answers 400.
    public var methodLength = 32
    /// Bytes of a request line without its CRLF; a longer one answers 414.
    public var requestLineSize = 8 * 1024
    /// Bytes of all field lines of a head with their CRLFs and the empty line; more answers 431.
    public var headerSize = 16 * 1024
    /// Field lines of a head, and of a trailer section; more answers 431.
    public var fieldCount = 100
    /// Bytes of the extensions of one chunk; more answers 400.
    public var chunkExtensionSize = 1024
    /// Bytes of the extensions of all chunks of a body; more answers 400.
    ///
    /// Without it a body of one-byte chunks would carry a thousand times its own size.
    public var chunkExtensionTotalSize = 8 * 1024
    /// Bytes of a trailer section with its CRLFs and the empty line; more answers 431.
    public var trailerSize = 8 * 1024

    /// The limits of the published interface.
    public init() {}
}
