import HTTPServer

/// What messages cost, in nanoseconds of this machine: for comparison within one run only.
enum Measurement {
    static func all() {
        parse(
            "GET, 3 fields",
            "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n"
        )
        parse("GET, 10 fields", "GET /v1/conversations?limit=50 HTTP/1.1\r\n\(manyFields)\r\n")
        let json = String(repeating: "x", count: 1_024)
        parse(
            "POST, 1 KiB",
            "POST /v1/messages HTTP/1.1\r\n\(manyFields)Content-Length: 1024\r\n\r\n\(json)"
        )
        parse(
            "POST, 1 KiB in 4 chunks",
            "POST /v1/messages HTTP/1.1\r\n\(manyFields)Transfer-Encoding: chunked\r\n\r\n"
                + String(repeating: "100\r\n\(json.prefix(256))\r\n", count: 4) + "0\r\n\r\n"
        )
        serialize()
    }

    private static let manyFields = """
        Host: switchboard.example:8081\r
        User-Agent: curl/7.88.1 (x86_64-pc-linux-gnu)\r
        Accept: application/json\r
        Accept-Encoding: gzip, deflate, br\r
        Authorization: Bearer sb_0123456789abcdef_0123456789abcdef0123456789abcdef\r
        Content-Type: application/json\r
        Connection: keep-alive\r
        X-Request-Id: 01890a5d-ac96-774b-bcce-b302099a8057\r
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r
        Idempotency-Key: 01890a5d-ac96-774b-bcce-b302099a8057\r\n
        """

    private static func parse(_ name: String, _ text: String) {
        let input = Array(text.utf8)
        var parser = RequestParser()
        var found = 0
        measure(name) {
            var position = 0
            while position < input.count || parser.phase != .idle {
                switch parser.next(input, &position, end: input.count) {
                case .head(let head):
                    found += head.pathBytes.count
                    if parser.acceptBody(limit: 1 << 16) != nil { fatalError("refused") }
                case .body(let range): found += range.count
                case .end: break
                case .needsMore, .failed: fatalError("\(name) is not a whole request")
                }
            }
        }
        precondition(found > 0)
    }

    private static func serialize() {
        var serializer = ResponseSerializer()
        var output: [UInt8] = []
        output.reserveCapacity(1_024)
        var fields: HTTPFields = ["Content-Type": "application/json"]
        fields.append("X-Request-Id", "01890a5d-ac96-774b-bcce-b302099a8057")
        measure("response head, 2 fields") {
            output.removeAll(keepingCapacity: true)
            serializer.appendHead(
                status: 200,
                fields: fields,
                framing: .length(1_024),
                version: .http11,
                keepsAlive: true,
                now: 784_111_777,
                to: &output
            )
        }
        measure("response fields, 2 of them made") {
            var fields: HTTPFields = ["Content-Type": "application/json"]
            fields.append("X-Request-Id", "01890a5d-ac96-774b-bcce-b302099a8057")
            precondition(fields.count == 2)
        }
    }

    private static func measure(_ name: String, _ body: () -> Void) {
        let rounds = 200_000
        for _ in 0..<rounds / 10 { body() }
        let best =
            (0..<5).map { _ in
                ContinuousClock().measure { for _ in 0..<rounds { body() } }
            }.min() ?? .zero
        let (seconds, attoseconds) = best.components
        let nanoseconds = (Double(seconds) * 1e9 + Double(attoseconds) / 1e9) / Double(rounds)
        print("\(name): \(Int(nanoseconds.rounded())) ns")
    }
}
