import Testing

@testable import HTTPServer

@Suite("HTTPFields")
struct HTTPFieldsTests {
    private func wire(_ fields: HTTPFields) -> String {
        var output: [UInt8] = []
        fields.appendLines(to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    private func parsed(_ lines: String) throws -> HTTPFields {
        let text = "GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n"
        return try #require(outcome(of: [latin1(text)[...]]).requests.first?.fields)
    }

    @Test("names are compared without case, order and spelling are kept")
    func lookUp() {
        let fields: HTTPFields = ["X-A": "1", "Content-Type": "text/plain", "x-a": "2"]
        #expect(fields.count == 3)
        #expect(fields["x-A"] == "1")
        #expect(fields["CONTENT-TYPE"] == "text/plain")
        #expect(fields["Content-Typ"] == nil)
        #expect(fields[""] == nil)
        #expect(fields.values(of: "X-a") == ["1", "2"])
        #expect(fields.contains("content-type") && !fields.contains("content"))
        #expect(fields.map(\.name) == ["X-A", "Content-Type", "x-a"])
        #expect(wire(fields) == "X-A: 1\r\nContent-Type: text/plain\r\nx-a: 2\r\n")
    }

    @Test("only letters lose their case in a comparison")
    func caseOfLettersOnly() {
        let fields: HTTPFields = ["^": "caret", "@".isEmpty ? "" : "`": "grave"]
        #expect(fields["~"] == nil)
        #expect(fields["@"] == nil)
        #expect(fields["^"] == "caret")
    }

    @Test("setting replaces all fields of the name, nil removes them")
    func replacing() {
        var fields: HTTPFields = ["A": "1", "B": "2", "a": "3"]
        fields["a"] = "4"
        #expect(wire(fields) == "B: 2\r\na: 4\r\n")
        fields["B"] = nil
        fields["C"] = nil
        #expect(wire(fields) == "a: 4\r\n")
        fields.remove("A")
        #expect(fields.isEmpty && wire(fields).isEmpty)
    }

    @Test("no value can end its line")
    func injection() {
        let fields: HTTPFields = ["A": "x\r\nSet-Cookie: y\0\u{7f}\t\u{e9}"]
        #expect(wire(fields) == "A: x  Set-Cookie: y  \t\u{e9}\r\n")
        #expect(fields["A"] == "x  Set-Cookie: y  \t\u{e9}")
    }

    @Test("a name that is no token is a fault of the program")
    func badName() async {
        await #expect(processExitsWith: .failure) {
            var fields = HTTPFields()
            fields.append("A\r\nB", "x")
        }
        await #expect(processExitsWith: .failure) {
            var fields = HTTPFields()
            fields.append("", "x")
        }
    }

    @Test("fields of a request may be changed and sent on")
    func changingParsedFields() throws {
        var fields = try parsed("B:  2 \r\nb: 3\r\n")
        #expect(wire(fields) == "Host: a\r\nB: 2\r\nb: 3\r\n")
        let copy = fields
        fields.append("C", "4")
        #expect(wire(fields) == "Host: a\r\nB: 2\r\nb: 3\r\nC: 4\r\n")
        fields["b"] = nil
        #expect(wire(fields) == "Host: a\r\nC: 4\r\n")
        #expect(copy.count == 3 && copy["b"] == "2")
    }

    @Test("fields are equal when names, but for case, values and order are")
    func equality() throws {
        #expect(try parsed("X: y\r\n") == ["host": "a", "x": "y"])
        #expect(try parsed("X: y\r\n") != ["host": "a", "x": "Y"])
        #expect(try parsed("X: y\r\n") != ["x": "y", "host": "a"])
        #expect(try parsed("X: y\r\n") != ["host": "a"])
        #expect(try parsed("X: y\r\n") != ["host": "a", "xx": "y"])
    }

    @Test("a hundred fields are all found")
    func manyFields() throws {
        let fields = try parsed((1..<100).map { "X-\($0): v\($0)\r\n" }.joined())
        #expect(fields.count == 100)
        for number in 1..<100 { #expect(fields["x-\(number)"] == "v\(number)") }
    }
}
