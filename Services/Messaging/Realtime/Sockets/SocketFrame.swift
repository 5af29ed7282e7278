internal import EventLoop
internal import HTTPServer
internal import JSON

/// What a client of `/v1/socket` sends: `{"type", "id", "socket_id", "data"}`.
struct SocketFrame: Sendable {
    /// Which event of which handler, such as `message.send`.
    let type: String
    /// The client's own name for it, which the answer carries as `ref`.
    let id: JSON
    /// The socket on whose behalf it is sent; its session says for whom.
    let socket: String
    let data: JSON

    /// Reads a frame.
    ///
    /// - Throws: `JSONError`, `JSONFieldErrors`.
    init(_ text: [UInt8]) throws {
        self = try JSONFields.read(try JSON(parsing: text)) { fields in
            SocketFrame(
                type: fields.string("type", length: 1...100),
                id: fields.optionalJSON("id") ?? .null,
                socket: fields.string("socket_id", length: 1...128),
                data: fields.optionalJSON("data") ?? [:]
            )
        }
    }

    init(type: String, id: JSON, socket: String, data: JSON) {
        self.type = type
        self.id = id
        self.socket = socket
        self.data = data
    }

    /// The answer to a frame that was done: `{"type": "ok", "ref", "data"}`.
    static func ok(_ ref: JSON, _ data: [UInt8]) -> [UInt8] {
        var writer = JSONWriter(capacity: data.count + 64)
        writer.beginObject()
        writer.member("type", "ok")
        writer.member("ref", ref)
        writer.key("data")
        writer.raw(data)
        writer.endObject()
        return writer.bytes
    }

    /// The answer to one that was not: `{"type": "error", "ref", "status", "code", "detail"}`.
    static func error(_ ref: JSON, _ problem: Problem) -> [UInt8] {
        var document: JSONObject = [
            "type": "error", "ref": ref, "status": .int(Int64(problem.status)),
            "code": .string(problem.code), "detail": .string(problem.detail ?? problem.title),
        ]
        if !problem.errors.isEmpty {
            document["errors"] = .array(
                problem.errors.map {
                    ["pointer": .string($0.pointer), "detail": .string($0.detail)]
                }
            )
        }
        if let wait = problem.retryAfterMilliseconds {
            document["retry_after_ms"] = .int(Int64(wait))
        }
        return JSON.object(document).serialized()
    }
}
