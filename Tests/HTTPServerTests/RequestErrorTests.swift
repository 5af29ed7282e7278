import Testing

@testable import HTTPServer

@Suite("RequestError")
struct RequestErrorTests {
    @Test("each error has the status that clients are told")
    func status() {
        let others: [RequestError.Code: Int] = [
            .bodySize: 413,
            .requestLineSize: 414,
            .expectation: 417,
            .headerSize: 431,
            .fieldCount: 431,
            .trailerSize: 431,
            .unsupportedCoding: 501,
            .version: 505,
        ]
        for code in RequestError.Code.allCases {
            #expect(RequestError(code).status == others[code] ?? 400, "\(code)")
            #expect(!StatusLine.phrase(RequestError(code).status).isEmpty)
        }
    }

    @Test("each error says something else, in plain characters")
    func descriptions() {
        let words = RequestError.Code.allCases.map { RequestError($0).description }
        #expect(Set(words).count == words.count)
        #expect(words.allSatisfy { $0.utf8.allSatisfy { (0x20...0x7e).contains($0) } })
    }
}
