import Foundation
import JSON
import Testing

private enum Kind: String, CaseIterable { case contact, agent }

@Suite("JSONFieldsTests")
struct JSONFieldsTests {
    /// What reading `document` with `body` complains about, as "pointer detail".
    private func faults(
        _ document: JSON,
        _ body: (inout JSONFields) -> Void
    ) -> [String] {
        do throws(JSONFieldErrors) {
            try JSONFields.read(document, body)
            return []
        } catch {
            return error.faults.map { "\($0.pointer) \($0.detail)" }
        }
    }

    @Test("a good object is read completely")
    func good() throws {
        let document: JSON = [
            "text": "hé", "code": "a.b-c_9", "n": 3, "whole": 4.0, "x": 0.5, "yes": true,
            "id": "0190A5B2-7c3d-7000-8000-0123456789ab", "at": "1970-01-01T00:00:01Z",
            "kind": "agent", "any": [1, nil], "map": ["k": "v"],
            "tags": ["a", "b"], "counts": [1, 2], "ids": ["00000000-0000-4000-8000-000000000001"],
            "who": ["id": "c1"], "items": [["n": 1], ["n": 2]],
        ]
        var fields = JSONFields(document)
        #expect(fields.string("text", length: 2...2) == "hé")
        #expect(fields.code("code") == "a.b-c_9")
        #expect(fields.int("n", in: 1...3) == 3)
        #expect(fields.int("whole", in: 0...9) == 4)
        #expect(fields.double("x", in: 0...1) == 0.5)
        #expect(fields.bool("yes") == true)
        #expect(fields.uuid("id") == UUID(uuidString: "0190a5b2-7c3d-7000-8000-0123456789ab"))
        #expect(fields.date("at") == 1000)
        #expect(fields.choice("kind", of: Kind.self) == .agent)
        #expect(fields.json("any") == [1, nil])
        #expect(fields.jsonObject("map") == ["k": "v"])
        #expect(fields.strings("tags", count: 0...2) == ["a", "b"])
        #expect(fields.ints("counts", count: 0...2, in: 0...9) == [1, 2])
        #expect(fields.uuids("ids", count: 1...1).count == 1)
        #expect(fields.object("who") { $0.string("id") } == "c1")
        #expect(fields.array("items", count: 0...2) { $0.int("n", in: 0...9) } == [1, 2])
        try fields.finish()
    }

    @Test("absent and null are the same: no value, and no fault where optional")
    func optionals() throws {
        for document: JSON in [[:], ["a": nil]] {
            var fields = JSONFields(document)
            #expect(!fields.has("a"))
            #expect(fields.optionalString("a") == nil)
            #expect(fields.optionalCode("a") == nil)
            #expect(fields.optionalInt("a", in: 0...1) == nil)
            #expect(fields.optionalDouble("a", in: 0...1) == nil)
            #expect(fields.optionalBool("a") == nil)
            #expect(fields.optionalUUID("a") == nil)
            #expect(fields.optionalDate("a") == nil)
            #expect(fields.optionalChoice("a", of: Kind.self) == nil)
            #expect(fields.optionalJSON("a") == nil)
            #expect(fields.optionalJSONObject("a") == nil)
            #expect(fields.optionalObject("a") { $0.string("b") } == nil)
            #expect(fields.optionalArray("a", count: 0...1) { $0.string("b") } == nil)
            #expect(fields.optionalStrings("a", count: 0...1) == nil)
            #expect(fields.optionalInts("a", count: 0...1, in: 0...1) == nil)
            #expect(fields.optionalUUIDs("a", count: 0...1) == nil)
            try fields.finish()
        }
    }

    @Test("what is required is missed, both when absent and when null")
    func missing() {
        for document: JSON in [[:], ["a": nil]] {
            let found = faults(document) { fields in
                _ = fields.string("a")
                _ = fields.object("a") { $0.string("inner") }
                _ = fields.uuids("a", count: 1...2)
            }
            #expect(found == Array(repeating: "/a is required", count: 3))
        }
    }

    @Test("a value of another type is named for what it should be")
    func wrongTypes() {
        let found = faults(["a": [1], "b": 1.5]) { fields in
            _ = fields.string("a")
            _ = fields.int("a", in: 0...1)
            _ = fields.int("b", in: 0...9)
            _ = fields.double("a", in: 0...1)
            _ = fields.bool("a")
            _ = fields.uuid("a")
            _ = fields.date("a")
            _ = fields.choice("a", of: Kind.self)
            _ = fields.jsonObject("a")
            _ = fields.object("a") { $0.string("inner") }
            _ = fields.array("b", count: 0...1) { $0.string("inner") }
        }
        #expect(
            found == [
                "/a must be a string", "/a must be an integer", "/b must be an integer",
                "/a must be a number", "/a must be true or false", "/a must be a UUID",
                "/a must be a time such as 2026-07-01T09:05:00.000Z",
                "/a must be one of: contact, agent", "/a must be an object",
                "/a must be an object", "/b must be an array",
            ]
        )
    }

    @Test("bounds are inclusive and told")
    func bounds() {
        let document: JSON = [
            "n": 5, "big": .int(.max), "s": "ab", "e": "", "u": "é€😀", "l": ["a", "b"], "x": 2.0,
        ]
        let found = faults(document) { fields in
            _ = fields.int("n", in: 5...5)
            _ = fields.int("n", in: 6...7)
            _ = fields.int("big", in: 0...10)
            _ = fields.string("s", length: 2...2)
            _ = fields.string("s", length: 3...4)
            _ = fields.string("s", length: 0...1)
            _ = fields.string("e")
            _ = fields.string("u", length: 3...3)
            _ = fields.string("u", length: 4...Int.max)
            _ = fields.strings("l", count: 3...3)
            _ = fields.double("x", in: 0...1)
        }
        #expect(
            found == [
                "/n must be between 6 and 7", "/big must be between 0 and 10",
                "/s must have 3 to 4 characters", "/s must have at most 1 characters",
                "/e must have 1 to 10000 characters", "/u must have at least 4 characters",
                "/l must have exactly 3 elements", "/x must be between 0.0 and 1.0",
            ]
        )
    }

    @Test("nested faults carry their whole pointer, elements their index")
    func nested() {
        let document: JSON = [
            "who": ["a/b": 1, "deep": ["n": "x"]],
            "items": [["n": 1], 7, ["n": "x", "extra": 1]],
            "ids": ["00000000-0000-4000-8000-000000000001", "zz"],
            "tags": ["ok", "", "no\u{0}"],
        ]
        let found = faults(document) { fields in
            fields.object("who") { who in
                who.object("deep") { _ = $0.int("n", in: 0...1) }
            }
            _ = fields.array("items", count: 0...5) { $0.int("n", in: 0...9) }
            _ = fields.uuids("ids", count: 0...5)
            _ = fields.strings("tags", count: 0...5)
        }
        #expect(
            found == [
                "/who/deep/n must be an integer", "/who/a~1b is not a known field",
                "/items/1 must be an object", "/items/2/n must be an integer",
                "/items/2/extra is not a known field", "/ids/1 must be a UUID",
                "/tags/1 must have 1 to 10000 characters", "/tags/2 must not contain U+0000",
            ]
        )
    }

    @Test("members that nobody asked for are named, unless let pass")
    func unknown() {
        let document: JSON = ["a": "x", "role": "admin", "b": nil]
        #expect(
            faults(document) { _ = $0.string("a") } == [
                "/role is not a known field", "/b is not a known field",
            ]
        )
        #expect(
            faults(document) { fields in
                fields.ignoreUnknownMembers()
                _ = fields.string("a")
            }.isEmpty
        )
    }

    @Test("something that is not an object is one fault, not one per member")
    func notAnObject() {
        for document: JSON in [nil, 1, "x", [], true] {
            #expect(faults(document) { _ = $0.string("a") } == [" must be an object"])
        }
    }

    @Test("the caller's own faults stand among the others")
    func ownFaults() {
        let found = faults(["from": 3, "to": 1]) { fields in
            let from = fields.int("from", in: 0...9)
            if fields.int("to", in: 0...9) < from { fields.fault("to", "must not be before from") }
        }
        #expect(found == ["/to must not be before from"])
    }

    @Test("U+0000 is refused wherever it would reach the database")
    func nul() {
        let document: JSON = ["a": "x\u{0}", "b": ["k": ["\u{0}"]], "c": ["\u{0}": 1]]
        let found = faults(document) { fields in
            _ = fields.string("a")
            _ = fields.json("b")
            _ = fields.jsonObject("c")
        }
        #expect(found == ["a", "b", "c"].map { "/\($0) must not contain U+0000" })
    }

    @Test("above the limit of faults only their number is told")
    func manyFaults() {
        let members = (0..<250).map { ("k\($0)", JSON.int(0)) }
        let found = faults(.object(["inner": .object(JSONObject(members))])) { fields in
            fields.object("inner") { _ in }
        }
        #expect(found.count == JSONFields.faultsMax + 1)
        #expect(found.first == "/inner/k0 is not a known field")
        #expect(found.last == " and 150 more faults")
    }

    @Test(
        "codes",
        arguments: [
            ("a", true), ("0", true), ("a_.-", true), (String(repeating: "a", count: 63), true),
            ("", false), ("_a", false), (".a", false), ("A", false), ("a b", false), ("é", false),
            ("a\n", false), (String(repeating: "a", count: 64), false), ("a/b", false),
        ]
    )
    func code(_ text: String, _ isCode: Bool) {
        #expect(TextPattern.code.matches(text) == isCode)
        #expect(faults(["c": .string(text)]) { _ = $0.code("c") }.isEmpty == isCode)
    }

    @Test("a single line has no control characters")
    func singleLine() {
        #expect(TextPattern.singleLine.matches("é 😀"))
        for text in ["a\nb", "\t", "\u{7F}", "\u{85}"] {
            #expect(!TextPattern.singleLine.matches(text))
        }
    }
}
