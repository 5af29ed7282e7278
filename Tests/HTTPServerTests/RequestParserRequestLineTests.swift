import Testing

@testable import HTTPServer

@Suite("RequestParser: request line")
struct RequestParserRequestLineTests {
    private static func line(_ line: String) -> String { "\(line)\r\nHost: a\r\n\r\n" }

    @Test(
        "a request line is taken as it is or not at all",
        arguments: [
            .taken("a plain request", line("GET / HTTP/1.1")),
            .taken("HTTP/1.0", line("GET / HTTP/1.0")),
            .taken("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"),
            .taken("one empty line before", "\r\n" + line("GET / HTTP/1.1")),
            .taken("an unknown method of token bytes", line("M-SEARCH!#$%&'*+.^_`|~09 / HTTP/1.1")),
            .taken("a method of 32 bytes", line(String(repeating: "M", count: 32) + " / HTTP/1.1")),
            .taken(
                "every visible byte that a path may hold",
                line("GET /!\"$&'()*+,-.:;<=>@[\\]^_`{|}~ HTTP/1.1")
            ),
            .taken("percent escapes of both cases", line("GET /%2f%2F%00%ff?%41 HTTP/1.1")),
            .taken("a question mark in the query", line("GET /a?b?c HTTP/1.1")),
            .taken("an absolute target", line("GET http://b.example:80/x?y HTTP/1.1")),
            .taken("an absolute target without path", line("GET HTTPS://b.example?y HTTP/1.1")),
            .taken("the server itself", line("OPTIONS * HTTP/1.1")),
            .taken("a tunnel", line("CONNECT b.example:443 HTTP/1.1")),
            .refused("two empty lines before", .requestLine, "\r\n\r\n" + line("GET / HTTP/1.1")),
            .refused("an empty line of LF", .lineEnding, "\n" + line("GET / HTTP/1.1")),
            .refused("CR alone before", .lineEnding, "\r" + line("GET / HTTP/1.1")),
            .refused("a space before", .requestLine, line(" GET / HTTP/1.1")),
            .refused("no method", .requestLine, line("/ HTTP/1.1")),
            .refused("a method that is no token", .method, line("G(T / HTTP/1.1")),
            .refused("a method with a byte over 127", .method, line("GET\u{e9} / HTTP/1.1")),
            .refused("a method with NUL", .method, line("GE\0T / HTTP/1.1")),
            .refused(
                "a method of 33 bytes",
                .methodLength,
                line(String(repeating: "M", count: 33) + " / HTTP/1.1")
            ),
            .refused("tab instead of space", .method, line("GET\t/ HTTP/1.1")),
            .refused("CR in the method", .method, "GET\r\n / HTTP/1.1\r\n\r\n"),
            .refused("LF in the method", .lineEnding, "GET\n / HTTP/1.1\r\n\r\n"),
            .refused("two spaces before the target", .requestLine, line("GET  / HTTP/1.1")),
            .refused("two spaces after the target", .requestLine, line("GET /  HTTP/1.1")),
            .refused("a space in the target", .version, line("GET /a b HTTP/1.1")),
            .refused("a tab in the target", .target, line("GET /a\tb HTTP/1.1")),
            .refused("tab before the version", .target, line("GET /\tHTTP/1.1")),
            .refused(
                "a control character in the target",
                .target,
                line("GET /\u{1}\u{7f} HTTP/1.1")
            ),
            .refused("DEL in the target", .target, line("GET /\u{7f} HTTP/1.1")),
            .refused("a byte over 127 in the target", .target, line("GET /\u{e9} HTTP/1.1")),
            .refused("NUL in the target", .target, line("GET /\0 HTTP/1.1")),
            .refused("a fragment", .target, line("GET /a#b HTTP/1.1")),
            .refused("a broken escape", .target, line("GET /%4 HTTP/1.1")),
            .refused("an escape that is no number", .target, line("GET /%zz HTTP/1.1")),
            .refused("a broken escape in the query", .target, line("GET /?% HTTP/1.1")),
            .refused("a target of no form", .target, line("GET a/b HTTP/1.1")),
            .refused("a target of a mark", .target, line("GET ! HTTP/1.1")),
            .refused("an asterisk for another method", .target, line("GET * HTTP/1.1")),
            .refused("an asterisk with a query", .target, line("OPTIONS *?a HTTP/1.1")),
            .refused(
                "an absolute target of another scheme",
                .target,
                line("GET ftp://a/ HTTP/1.1")
            ),
            .refused("an absolute target without host", .target, line("GET http:///x HTTP/1.1")),
            .refused("only a scheme", .target, line("GET http:// HTTP/1.1")),
            .refused("user information", .target, line("GET http://user@a/ HTTP/1.1")),
            .refused("a tunnel to a path", .target, line("CONNECT /x HTTP/1.1")),
            .refused("a tunnel without port", .target, line("CONNECT a HTTP/1.1")),
            .refused("a tunnel with an empty port", .target, line("CONNECT a: HTTP/1.1")),
            .refused("an authority for another method", .target, line("GET a:80 HTTP/1.1")),
        ] as [ParserCase]
    )
    func requestLine(row: ParserCase) {
        row.check()
    }

    @Test(
        "no other version than 1.1 and 1.0 is spoken",
        arguments: [
            .refused("HTTP/2.0", .version, line("GET / HTTP/2.0")),
            .refused("HTTP/1.2", .version, line("GET / HTTP/1.2")),
            .refused("HTTP/9.9", .version, line("GET / HTTP/9.9")),
            .refused("HTTP/0.9", .version, line("GET / HTTP/0.9")),
            .refused("HTTP/1.10", .version, line("GET / HTTP/1.10")),
            .refused("HTTP/01.1", .version, line("GET / HTTP/01.1")),
            .refused("large numbers", .version, line("GET / HTTP/4294967297.257")),
            .refused("lower case", .version, line("GET / http/1.1")),
            .refused("another protocol", .version, line("GET / HTTQ/1.1")),
            .refused("the preface of HTTP/2", .target, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            .refused("something behind", .version, line("GET / HTTP/1.1x")),
            .refused("a space behind", .requestLine, line("GET / HTTP/1.1 ")),
            .refused("a tab behind", .requestLine, line("GET / HTTP/1.1\t")),
            .refused("cut short", .requestLine, line("GET / HTTP/1")),
            .refused("CRs inside", .requestLine, line("GET / HTTP/\r\r1.1")),
            .refused("a control character inside", .requestLine, line("GET / HTTP/\u{1}.1")),
            .refused("none, as in HTTP/0.9", .requestLine, "GET /\r\n\r\n"),
            .refused("an empty one", .requestLine, "GET / \r\n\r\n"),
            .refused("LF at the end", .lineEnding, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
            .refused("LF for a space", .lineEnding, "GET /\nHTTP/1.1\r\nHost: a\r\n\r\n"),
            .refused("CR without LF", .lineEnding, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
            .refused("two CRs", .lineEnding, "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        ] as [ParserCase]
    )
    func version(row: ParserCase) {
        row.check()
    }

    @Test("the parts of each form of target are told apart")
    func parts() throws {
        let rows: [(line: String, path: String, query: String?, authority: String)] = [
            ("GET /a/b?c=d&e HTTP/1.1", "/a/b", "c=d&e", "a"),
            ("GET /a? HTTP/1.1", "/a", "", "a"),
            ("GET /a?b?c HTTP/1.1", "/a", "b?c", "a"),
            ("GET //x/.. HTTP/1.1", "//x/..", nil, "a"),
            ("GET http://b:1/p?q HTTP/1.1", "/p", "q", "b:1"),
            ("GET http://b?q/r HTTP/1.1", "/", "q/r", "b"),
            ("GET HtTpS://[::1]:8/ HTTP/1.1", "/", nil, "[::1]:8"),
            ("OPTIONS * HTTP/1.1", "*", nil, "a"),
            ("CONNECT c:443 HTTP/1.1", "c:443", nil, "c:443"),
        ]
        for row in rows {
            let result = outcomeOfAllCuts(latin1(Self.line(row.line)))
            let request = try #require(result.requests.first, "\(row.line): \(result)")
            #expect(request.path == row.path, "\(row.line)")
            #expect(request.query == row.query, "\(row.line)")
            #expect(request.authority == row.authority, "\(row.line)")
            #expect(request.target == String(row.line.split(separator: " ")[1]))
        }
    }

    @Test("methods are told apart exactly")
    func methods() throws {
        for method in HTTPMethod.known where method != .connect {
            let result = outcomeOfAllCuts(latin1(Self.line("\(method.name) / HTTP/1.1")))
            #expect(result.requests.first?.method == method)
            #expect(HTTPMethod(method.name) == method)
        }
        for name in ["get", "Get", "GE", "GETT", "POSTPOST", "OPTIONSX", "OPTIONSXX"] {
            let result = outcomeOfAllCuts(latin1(Self.line("\(name) / HTTP/1.1")))
            #expect(result.requests.first?.method == .other(name))
            #expect(HTTPMethod(name).description == name)
        }
    }
}
