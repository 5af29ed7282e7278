import HTTPServer
import JSON

/// An answer to be written.
struct StandInAnswer {
    var status = 200
    var contentType = "application/json; charset=utf-8"
    var fields: [(String, String)] = []
    var body: [UInt8]

    static func json(_ value: JSON, status: Int = 200) -> StandInAnswer {
        StandInAnswer(status: status, body: value.serialized())
    }

    static func refusal(_ code: String) -> StandInAnswer {
        .json(["ok": false, "error": .string(code)])
    }
}

/// What a connection does about a request.
enum StandInReaction {
    case answer(StandInAnswer)
    case later(StandInAnswer, Duration)
    /// Half of the answer, then the end.
    case cut(StandInAnswer)
    case hang
    case reset
    case close
}

/// A request as the methods see it: arguments from query, form or JSON.
struct StandInRequest {
    let method: String
    let path: String
    let query: [String: String]
    let contentType: String
    let authorization: String?
    let body: [UInt8]
    let numberOnConnection: Int
    let fields: HTTPFields

    init(_ head: RequestHead, body: [UInt8], numberOnConnection: Int) {
        method = "\(head.method)".uppercased()
        let parts = head.target.split(separator: "?", maxSplits: 1)
        path = parts.first.map(String.init) ?? "/"
        query = parts.count == 2 ? StandInRequest.form(String(parts[1])) : [:]
        contentType = head.fields["Content-Type"]?.lowercased() ?? ""
        authorization = head.fields["Authorization"]
        fields = head.fields
        self.body = body
        self.numberOnConnection = numberOnConnection
    }

    var isJSON: Bool { contentType.hasPrefix("application/json") }

    /// The arguments by name, or the code with which Slack refuses the body.
    func arguments() -> Result<[String: JSON], StandInRefusal> {
        if method == "GET" || body.isEmpty { return .success(query.mapValues { .string($0) }) }
        if isJSON {
            guard let value = try? JSON(parsing: body) else { return .failure("invalid_json") }
            guard let object = value.objectValue else { return .failure("json_not_object") }
            return .success(
                Dictionary(object.members.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
            )
        }
        guard contentType.hasPrefix("application/x-www-form-urlencoded") else {
            return .failure("invalid_post_type")
        }
        let text = String(decoding: body, as: UTF8.self)
        return .success(StandInRequest.form(text).mapValues { .string($0) })
    }

    /// Decodes `a=b&c=d`.
    static func form(_ text: String) -> [String: String] {
        var values: [String: String] = [:]
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            values[decoded(parts[0])] = parts.count == 2 ? decoded(parts[1]) : ""
        }
        return values
    }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case 0x2b: bytes.append(0x20)
            case 0x25:
                let hex = String(decoding: rest.prefix(2), as: UTF8.self)
                guard hex.utf8.count == 2, let value = UInt8(hex, radix: 16) else {
                    bytes.append(byte)
                    continue
                }
                bytes.append(value)
                rest = rest.dropFirst(2)
            default: bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A code of Slack's error list.
struct StandInRefusal: Error, ExpressibleByStringLiteral {
    let code: String

    init(stringLiteral value: String) { code = value }
    init(_ code: String) { self.code = code }
}
