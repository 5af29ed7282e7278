/// A request that is refused before a route sees it.
///
/// The connection cannot be trusted any further: answer once with ``status``, then close it.
public struct RequestError: Error, Sendable, Hashable {
    /// What was wrong.
    public enum Code: Sendable, Hashable, CaseIterable {
        case requestLine, method, methodLength, target, version, requestLineSize
        case fieldName, fieldValue, lineFolding, lineEnding, headerSize, fieldCount
        case host, contentLength, lengthAndCoding, codingInHTTP10, transferCoding
        case unsupportedCoding, expectation
        case bodySize, chunkSize, chunkExtension, chunkExtensionSize, chunkEnd
        case trailer, trailerSize
    }

    /// What was wrong.
    public let code: Code

    /// An error of the kind `code`.
    public init(_ code: Code) {
        self.code = code
    }

    /// The status that answers the request.
    public var status: Int {
        switch code {
        case .requestLine, .method, .methodLength, .target: 400
        case .fieldName, .fieldValue, .lineFolding, .lineEnding: 400
        case .host, .contentLength, .lengthAndCoding, .codingInHTTP10, .transferCoding: 400
        case .chunkSize, .chunkExtension, .chunkExtensionSize, .chunkEnd, .trailer: 400
        case .bodySize: 413
        case .requestLineSize: 414
        case .expectation: 417
        case .headerSize, .fieldCount, .trailerSize: 431
        case .unsupportedCoding: 501
        case .version: 505
        }
    }
}

extension RequestError: CustomStringConvertible {
    /// What was wrong, in words fit for the peer.
    public var description: String {
        switch code {
        case .requestLine: "malformed request line"
        case .method: "the method is not a token"
        case .methodLength: "the method is too long"
        case .target: "malformed request target"
        case .version: "only HTTP/1.1 and HTTP/1.0 are spoken here"
        case .requestLineSize: "the request line is too long"
        case .fieldName: "malformed field name"
        case .fieldValue: "a field value holds a control character"
        case .lineFolding: "a field line is folded"
        case .lineEnding: "a line does not end with CR LF"
        case .headerSize: "the header section is too large"
        case .fieldCount: "too many fields"
        case .host: "exactly one valid Host is required"
        case .contentLength: "malformed or repeated Content-Length"
        case .lengthAndCoding: "Content-Length together with Transfer-Encoding"
        case .codingInHTTP10: "Transfer-Encoding in an HTTP/1.0 request"
        case .transferCoding: "malformed Transfer-Encoding"
        case .unsupportedCoding: "the only transfer coding known here is chunked"
        case .expectation: "the only expectation known here is 100-continue"
        case .bodySize: "the body is too large"
        case .chunkSize: "malformed chunk size"
        case .chunkExtension: "malformed chunk extension"
        case .chunkExtensionSize: "the chunk extensions are too long"
        case .chunkEnd: "a chunk does not end where its size says"
        case .trailer: "malformed trailer field"
        case .trailerSize: "the trailer section is too large"
        }
    }
}
