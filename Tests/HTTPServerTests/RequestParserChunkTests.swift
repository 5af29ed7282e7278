import Testing

@testable import HTTPServer

@Suite("RequestParser: chunks")
struct RequestParserChunkTests {
    private static func chunked(_ body: String) -> String {
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(body)"
    }

    @Test(
        "chunks are exact",
        arguments: [
            .taken("one", chunked("5\r\nhello\r\n0\r\n\r\n")),
            .taken(
                "hexadecimal digits of both cases",
                chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n")
            ),
            .taken("16 digits", chunked("0000000000000001\r\nx\r\n0000000000000000\r\n\r\n")),
            .taken("CR LF as data", chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n")),
            .taken(
                "as much as the limit",
                chunked("400\r\n" + String(repeating: "x", count: 1024) + "\r\n0\r\n\r\n")
            ),
            .refused("no size", .chunkSize, chunked("\r\n\r\n")),
            .refused("no size but an extension", .chunkSize, chunked(";a\r\n\r\n")),
            .refused("17 digits", .chunkSize, chunked("00000000000000001\r\nx\r\n0\r\n\r\n")),
            .refused("a prefix", .chunkSize, chunked("0x5\r\nhello\r\n0\r\n\r\n")),
            .refused("an underscore", .chunkSize, chunked("0_2e\r\n")),
            .refused("a plus", .chunkSize, chunked("+5\r\nhello\r\n0\r\n\r\n")),
            .refused("a minus", .chunkSize, chunked("-5\r\nhello\r\n0\r\n\r\n")),
            .refused("a letter behind", .chunkSize, chunked("5g\r\nhello\r\n0\r\n\r\n")),
            .refused(
                "words",
                .chunkSize,
                chunked("INVALID!!!\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            ),
            .refused("a space before", .chunkSize, chunked(" 5\r\nhello\r\n0\r\n\r\n")),
            .refused("a space behind", .chunkExtension, chunked("5 \r\nhello\r\n0\r\n\r\n")),
            .refused("a tab behind", .chunkExtension, chunked("5\t\r\nhello\r\n0\r\n\r\n")),
            .refused("LF behind the size", .lineEnding, chunked("5\nhello\r\n0\r\n\r\n")),
            .refused("CR alone behind the size", .lineEnding, chunked("5\rhello\r\n0\r\n\r\n")),
            .refused(
                "two CRs behind the size",
                .lineEnding,
                chunked("5\r\r;abc\r\nhello\r\n0\r\n\r\n")
            ),
            .refused("less data than stated", .chunkEnd, chunked("6\r\nhello\r\n0\r\n\r\n")),
            .refused("more data than stated", .chunkEnd, chunked("4\r\nhello\r\n0\r\n\r\n")),
            .refused("LF behind the data", .chunkEnd, chunked("5\r\nhello\n0\r\n\r\n")),
            .refused("CR alone behind the data", .chunkEnd, chunked("5\r\nhello\r0\r\n\r\n")),
            .refused("any two bytes behind the data", .chunkEnd, chunked("5\r\nhelloXX0\r\n\r\n")),
            .refused(
                "an empty line between chunks",
                .chunkSize,
                chunked("5\r\nhello\r\n\r\n0\r\n\r\n")
            ),
            .refused("LF at the very end", .lineEnding, chunked("0\r\n\n")),
            .refused(
                "any two bytes at the very end",
                .trailer,
                chunked("0\r\nX:POST / HTTP/1.1\r\n@\r\n\r\n")
            ),
            .refused("a chunk over the limit", .bodySize, chunked("401\r\n")),
            .refused("chunks over the limit", .bodySize, chunked("5\r\nhello\r\n3fc\r\n")),
            .refused("the largest chunk", .bodySize, chunked("ffffffffffffffff\r\n")),
            .refused(
                "a chunk that makes the sum overflow",
                .bodySize,
                chunked("5\r\nhello\r\nfffffffffffffffb\r\n")
            ),
        ] as [ParserCase]
    )
    func chunks(row: ParserCase) {
        row.check()
    }

    private static func extended(_ text: String) -> String {
        chunked("5\(text)\r\nhello\r\n0\(text)\r\n\r\n")
    }

    @Test(
        "an extension is well-formed",
        arguments: [
            .taken("a name", extended(";a")),
            .taken("a name and a value", extended(";a=b")),
            .taken("several", extended(";a=b;c;d=e")),
            .taken("blanks between the parts", extended(" ; a = b\t;\tc")),
            .taken("a quoted value", extended(";a=\"b c;d=\\\"e\\\\\"")),
            .taken("a tab and bytes over 127 in quotes", extended(";a=\"\t\u{80}\u{ff}\"")),
            .taken("an empty quoted value", extended(";a=\"\"")),
            .refused("no name", .chunkExtension, extended(";")),
            .refused("no name between", .chunkExtension, extended(";;a")),
            .refused("no value", .chunkExtension, extended(";a=")),
            .refused("no name but a value", .chunkExtension, extended(";=b")),
            .refused("two values", .chunkExtension, extended(";a=b=c")),
            .refused("a blank at the end", .chunkExtension, extended(";a ")),
            .refused("a blank behind the value", .chunkExtension, extended(";a=b\t")),
            .refused("a blank in the name", .chunkExtension, extended(";a b")),
            .refused("something behind the quotes", .chunkExtension, extended(";a=\"b\"c")),
            .refused("an open quote", .chunkExtension, extended(";a=\"b")),
            .refused("an escaped closing quote", .chunkExtension, extended(";a=\"b\\\"")),
            .refused("a control character", .chunkExtension, extended(";a\u{1}")),
            .refused("NUL in quotes", .chunkExtension, extended(";a=\"\0\"")),
            .refused("an escaped NUL", .chunkExtension, extended(";a=\"\\\0\"")),
            .refused("a quoted name", .chunkExtension, extended(";\"a\"")),
            .refused("bytes over 127", .chunkExtension, extended(";a=\u{e9}")),
            .refused("LF at the end", .lineEnding, chunked("5;a\nhello\r\n0\r\n\r\n")),
            .refused("LF in quotes", .lineEnding, extended(";a=\"\n\"")),
            .refused("CR in quotes", .chunkExtension, extended(";a=\"\r\"")),
            .refused("CR without LF", .lineEnding, chunked("5;a\rhello\r\n0\r\n\r\n")),
            .refused("two CRs", .lineEnding, chunked("5;a=b\r\rhello\r\n0\r\n\r\n")),
        ] as [ParserCase]
    )
    func extensions(row: ParserCase) {
        row.check()
    }

    @Test(
        "trailers are checked like fields",
        arguments: [
            .taken("one", chunked("0\r\nX: y\r\n\r\n")),
            .taken(
                "one whose value reads like a request",
                chunked("0\r\nX:GET / HTTP/1.1\r\n\r\n")
            ),
            .taken("several", chunked("0\r\nX:\r\nY: \tz\u{ff}\r\n\r\n")),
            .refused("no colon", .trailer, chunked("0\r\nX\r\n\r\n")),
            .refused("an empty name", .trailer, chunked("0\r\n: x\r\n\r\n")),
            .refused("a space before the colon", .trailer, chunked("0\r\nX : y\r\n\r\n")),
            .refused("folding", .trailer, chunked("0\r\nX: y\r\n z\r\n\r\n")),
            .refused("a space at the start", .trailer, chunked("0\r\n X: y\r\n\r\n")),
            .refused("NUL", .trailer, chunked("0\r\nX: \0\r\n\r\n")),
            .refused("DEL", .trailer, chunked("0\r\nX: \u{7f}\r\n\r\n")),
            .refused("LF at the end", .lineEnding, chunked("0\r\nX: y\n\r\n")),
            .refused("CR in the value", .lineEnding, chunked("0\r\nX: y\rz\r\n\r\n")),
            .refused("CR alone before the end", .lineEnding, chunked("0\r\nX: y\r\n\rz")),
            .refused(
                "a request in their place",
                .trailer,
                chunked("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            ),
        ] as [ParserCase]
    )
    func trailers(row: ParserCase) {
        row.check()
    }

    @Test("the body is the data of the chunks and nothing else")
    func contents() {
        let text = Self.chunked(
            "1;x=y\r\na\r\n00002\r\nbc\r\n1f\r\n\(String(repeating: "d", count: 31))\r\n0;e\r\nT: u\r\n\r\n"
        )
        let result = outcomeOfAllCuts(latin1(text))
        #expect(result.requests.map(\.body) == [latin1("abc" + String(repeating: "d", count: 31))])
        #expect(result.end == .idle)
    }
}
