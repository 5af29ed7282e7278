internal import Crypto
internal import FoundationEssentials

/// The opening of a WebSocket (RFC 6455 section 4.2).
enum WebSocketHandshake {
    /// What the answer says for the key of the request.
    ///
    /// - Throws: 426 for a request that is not for a WebSocket of version 13, 400 for one that is
    ///   and is wrong.
    static func acceptance(of request: Request) throws(Problem) -> String {
        guard request.message.head.version == .http11, !request.message.isHead,
            names(request.fields["Upgrade"], "websocket"),
            names(request.fields["Connection"], "upgrade")
        else { throw upgradeRequired("this is the address of a WebSocket") }
        guard request.fields["Sec-WebSocket-Version"] == "13" else {
            throw upgradeRequired("only version 13 is spoken here")
        }
        guard request.body.isEmpty, let key = request.fields["Sec-WebSocket-Key"],
            key.utf8.count == 24, Data(base64Encoded: key)?.count == 16
        else {
            throw .badRequest("Sec-WebSocket-Key must be 16 bytes in base64", code: "bad_handshake")
        }
        return acceptance(ofKey: key)
    }

    static func acceptance(ofKey key: String) -> String {
        let text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        return Data(Insecure.SHA1.hash(data: Data(text.utf8))).base64EncodedString()
    }

    /// Whether a list of tokens has `word`, in capitals or not.
    private static func names(_ list: String?, _ word: String) -> Bool {
        (list ?? "").split(separator: ",").contains { token in
            token.lowercased().split(separator: " ").joined() == word
        }
    }

    private static func upgradeRequired(_ detail: String) -> Problem {
        var problem = Problem(status: 426, code: "upgrade_required", detail: detail)
        problem.fields["Upgrade"] = "websocket"
        problem.fields["Sec-WebSocket-Version"] = "13"
        return problem
    }
}
