public import JSON

/// An error as the client sees it: `application/problem+json` (RFC 9457).
///
/// Handlers throw it; whatever else they throw becomes a 500 that says nothing about the inside.
public struct Problem: Error, Sendable, Equatable {
    /// One thing that was wrong with the request.
    public struct Fault: Sendable, Hashable {
        /// Where: a JSON pointer into the body, or `/query/<name>`.
        public let pointer: String
        /// What, in words.
        public let detail: String

        /// A fault at `pointer`.
        public init(pointer: String, detail: String) {
            self.pointer = pointer
            self.detail = detail
        }
    }

    /// The status of the answer.
    public var status: Int
    /// A stable name for programs to branch on.
    public var code: String
    /// What kind of problem this is, in words that do not vary.
    public var title: String
    /// What happened this time.
    public var detail: String?
    /// What was wrong, one by one.
    public var errors: [Fault] = []
    /// When trying again makes sense; also sent as `Retry-After`, in seconds rounded up.
    public var retryAfterMilliseconds: Int?
    /// Whether the same request may succeed later.
    public var retryable: Bool?
    /// Further header fields of the answer.
    public var fields = HTTPFields()
    /// Further members of the document.
    public var members = JSONObject()

    /// A problem; `code` and `title` default to what the status is called.
    public init(
        status: Int,
        code: String? = nil,
        title: String? = nil,
        detail: String? = nil
    ) {
        self.status = status
        self.code = code ?? HTTPStatus.slug(status)
        self.title = title ?? StatusLine.phrase(status)
        self.detail = detail
    }
}

// MARK: - The usual ones

extension Problem {
    /// 404, the same for what does not exist and for what belongs to somebody else.
    public static let notFound = Problem(status: 404, detail: "there is no such resource")

    /// 404: no route has the path.
    static let noSuchCall = Problem(
        status: 404,
        detail: "no call has this path; GET /docs lists those that there are"
    )

    /// 400: the request could not be read.
    public static func badRequest(_ detail: String, code: String? = nil) -> Problem {
        Problem(status: 400, code: code, detail: detail)
    }

    /// 401, with the challenge that RFC 9110 section 11.6.1 asks for.
    public static func unauthorized(
        _ detail: String = "a valid key is required"
    ) -> Problem {
        var problem = Problem(status: 401, detail: detail)
        problem.fields["WWW-Authenticate"] = "Bearer"
        return problem
    }

    /// 403: the key is valid, but may not do this.
    public static func forbidden(_ detail: String) -> Problem {
        Problem(status: 403, detail: detail)
    }

    /// 409: the state of the resource forbids it.
    public static func conflict(_ code: String, _ detail: String) -> Problem {
        Problem(status: 409, code: code, detail: detail)
    }

    /// 422: well-formed, but not acceptable for these reasons.
    public static func invalid(_ errors: [Fault], code: String = "invalid_request") -> Problem {
        let detail = errors.first.map { first in
            let place = first.pointer.isEmpty ? "" : "\(first.pointer): "
            return place + first.detail
        }
        var problem = Problem(status: 422, code: code, detail: detail)
        problem.errors = errors
        return problem
    }

    /// 422 for one fault.
    public static func invalid(_ pointer: String, _ detail: String) -> Problem {
        invalid([Fault(pointer: pointer, detail: detail)])
    }

    /// 429: a limit was reached.
    public static func tooManyRequests(
        _ detail: String,
        code: String = "rate_limited",
        retryAfterMilliseconds: Int
    ) -> Problem {
        var problem = Problem(status: 429, code: code, detail: detail)
        problem.retryAfterMilliseconds = retryAfterMilliseconds
        problem.retryable = true
        return problem
    }

    /// 503: something that this needs is away.
    public static func unavailable(
        _ detail: String,
        code: String = "unavailable",
        retryAfterMilliseconds: Int = 1000
    ) -> Problem {
        var problem = Problem(status: 503, code: code, detail: detail)
        problem.retryAfterMilliseconds = retryAfterMilliseconds
        problem.retryable = true
        return problem
    }

    /// 500: our fault; the reason is in the log, under the request's id.
    public static let internalError = Problem(
        status: 500,
        code: "internal_error",
        detail: "the request failed for a reason that is not yours"
    )
}

// MARK: - Rendering

extension Problem {
    /// The answer to the request with this id and target.
    func response(requestID: String, instance: String) -> Response {
        var response = Response(
            status: status,
            contentType: "application/problem+json",
            body: .bytes(document(requestID: requestID, instance: instance))
        )
        response.fields = fields
        if let retryAfterMilliseconds {
            let seconds = max(1, (retryAfterMilliseconds + 999) / 1000)
            response.fields["Retry-After"] = String(seconds)
        }
        return response
    }

    private func document(requestID: String, instance: String) -> [UInt8] {
        var writer = JSONWriter(capacity: 384)
        writer.beginObject()
        writer.member("type", "urn:switchboard:problem:\(code)")
        writer.member("title", title)
        writer.member("status", status)
        if let detail { writer.member("detail", detail) }
        writer.member("instance", instance)
        writer.member("code", code)
        writer.member("request_id", requestID)
        if !errors.isEmpty {
            writer.key("errors")
            writer.beginArray()
            for error in errors {
                writer.beginObject()
                writer.member("pointer", error.pointer)
                writer.member("detail", error.detail)
                writer.endObject()
            }
            writer.endArray()
        }
        if let retryAfterMilliseconds {
            writer.member("retry_after_ms", retryAfterMilliseconds)
        }
        if let retryable { writer.member("retryable", retryable) }
        for (name, value) in members.members { writer.member(name, value) }
        writer.endObject()
        return writer.bytes
    }

    /// The schema of the document.
    static let schema: JSON = [
        "type": "object",
        "description": "A problem (RFC 9457).",
        "required": ["type", "title", "status", "instance", "code", "request_id"],
        "properties": [
            "type": ["type": "string", "format": "uri", "description": "The code as a URI."],
            "title": ["type": "string", "description": "The kind of problem, in words."],
            "status": ["type": "integer", "description": "The HTTP status."],
            "detail": ["type": "string", "description": "What is wrong here, in words."],
            "instance": [
                "type": "string", "format": "uri-reference",
                "description": "The path that was asked.",
            ],
            "code": ["type": "string", "description": "Stable name for programs."],
            "request_id": ["type": "string", "description": "Finds the request in the log."],
            "errors": [
                "type": "array",
                "description": "Each fault of the request, with its place.",
                "items": [
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": [
                        "pointer": [
                            "type": "string", "description": "Where it is: a JSON pointer.",
                        ],
                        "detail": ["type": "string", "description": "What is wrong there."],
                    ],
                ],
            ],
            "retry_after_ms": ["type": "integer", "description": "When to try again."],
            "retryable": [
                "type": "boolean", "description": "Whether the same request may succeed later.",
            ],
        ],
    ]
}
