import Glibc
import HTTPServer

/// Shows from outside what the parser makes of bytes, and how fast.
///
/// `verdicts` reads lines of hexadecimal bytes, one connection each, and answers each with one
/// line; `http_differential.py` compares them with another parser's. `measure` prints what a
/// message costs.
@main
enum HTTPParserProbe {
    static func main() {
        switch CommandLine.arguments.dropFirst() {
        case ["verdicts"]:
            while let line = readLine() { print(Verdict.line(of: bytes(hex: line))) }
        case ["measure"]:
            Measurement.all()
        default:
            print("usage: HTTPParserProbe verdicts|measure")
            exit(2)
        }
    }

    private static func bytes(hex line: String) -> [UInt8] {
        let digits = line.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(digits[$0] << 4 | digits[$0 + 1])
        }
    }
}

/// What one connection's bytes come to, as a line of text.
enum Verdict {
    /// `request METHOD target 1.1 keep name:value,… body complete; …; end idle`; all but the
    /// method, the version and the plain words is hexadecimal.
    static func line(of input: [UInt8]) -> String {
        var parser = RequestParser()
        var position = 0
        var parts: [String] = []
        var (head, body): (String, [UInt8]) = ("", [])
        var keepsAlive = true
        while true {
            switch parser.next(input, &position, end: input.count) {
            case .needsMore:
                if parser.phase == .body { parts.append("\(head) \(hex(body)) partial") }
                return (parts + ["end \(parser.phase)"]).joined(separator: "; ")
            case .failed(let error):
                if !head.isEmpty { parts.append("\(head) \(hex(body)) partial") }
                return (parts + [failure(error)]).joined(separator: "; ")
            case .head(let next):
                (head, body, keepsAlive) = (describe(next), [], next.keepsAlive)
                if let error = parser.acceptBody(limit: 1 << 20) {
                    parts.append("\(head)  partial")
                    return (parts + [failure(error)]).joined(separator: "; ")
                }
            case .body(let range):
                body += input[range]
            case .end:
                parts.append("\(head) \(hex(body)) complete")
                head = ""
                if !keepsAlive { return (parts + ["end closing"]).joined(separator: "; ") }
            }
        }
    }

    private static func failure(_ error: RequestError) -> String {
        "end failed \(error.status) \(error.code)"
    }

    private static func describe(_ head: RequestHead) -> String {
        let fields = head.fields.indices.map { index in
            hex(Array(head.fields[index].name.utf8)) + ":"
                + hex(Array(head.fields.valueBytes(at: index)))
        }
        return "request \(head.method) \(hex(Array(head.target.utf8)))"
            + " \(head.version == .http11 ? "1.1" : "1.0") \(head.keepsAlive ? "keep" : "close")"
            + " \(fields.joined(separator: ","))"
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }
}
