public import EventLoop
public import FoundationEssentials

/// The field `Idempotency-Key`.
enum IdempotencyKey {
    static let fieldName = "Idempotency-Key"
    /// The longest key.
    static let lengthMax = 255
    static let summary =
        "A repeat with the same key and body gets the first answer, kept for 24 hours, with "
        + "Idempotency-Replayed: true."

    /// The key in a field's value: 1 to 255 visible ASCII bytes.
    static func parse(_ value: ArraySlice<UInt8>) throws(Problem) -> String {
        guard (1...lengthMax).contains(value.count),
            value.allSatisfy({ (0x21...0x7e).contains($0) })
        else {
            throw .badRequest(
                "\(fieldName) must be 1 to \(lengthMax) visible ASCII characters",
                code: "invalid_idempotency_key"
            )
        }
        return String(decoding: value, as: UTF8.self)
    }
}

extension Problem {
    /// Whether a repeat must see it again: not when it said itself that trying again makes sense.
    var isFinal: Bool { IdempotencyKey.isFinal(status) && retryable != true }
}

/// A request as its idempotency key sees it.
public struct IdempotentRequest: Sendable, Hashable {
    /// The tenant's code.
    public let tenant: String
    /// The tenant's id; nil where the authenticator does not know it.
    public let tenantID: UUID?
    /// The method.
    public let method: String
    /// The path and query, as sent.
    public let path: String
    /// The key.
    public let key: String
    /// The body's SHA-256, 32 bytes.
    public let bodyHash: [UInt8]
}

/// An answer that is kept for replay.
public struct StoredResponse: Sendable, Equatable {
    /// The status.
    public let status: Int
    /// The media type of the body.
    public let contentType: String?
    /// The body.
    public let body: [UInt8]

    /// An answer.
    public init(status: Int, contentType: String?, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// The answer of a repeat.
    var replay: Response {
        var response = Response(status: status, contentType: contentType, body: .bytes(body))
        response.setField("Idempotency-Replayed", "true")
        return response
    }
}

/// What a store knows of a key when a request begins.
public enum IdempotencyBegin: Sendable, Equatable {
    /// Nothing: the key is now ours, until `finish` or `abandon`.
    case started
    /// The answer of the first request.
    case replay(StoredResponse)
    /// The first request had another body.
    case reused
    /// The first request still runs, in another process.
    case inProgress
}

/// Where answers are kept by their idempotency keys.
@LoopActor
public protocol IdempotencyStore: Sendable {
    /// Claims the key, or says what became of it.
    func begin(_ request: IdempotentRequest) async throws -> IdempotencyBegin
    /// Keeps the answer of a request that began.
    func finish(_ request: IdempotentRequest, _ response: StoredResponse) async throws
    /// Lets the key go without an answer, so that a repeat may try again.
    func abandon(_ request: IdempotentRequest) async
}

extension IdempotencyKey {
    /// Whether the answer is one that a repeat must see again.
    ///
    /// What was refused before anything happened, and what failed, may go better next time.
    static func isFinal(_ status: Int) -> Bool {
        switch status {
        case 200..<400, 404, 409, 410: true
        default: false
        }
    }
}
