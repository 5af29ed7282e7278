import JSON
import Testing

@Suite("JSONWriterTests")
struct JSONWriterTests {
    @Test("members, elements and nested values are separated by commas")
    func structure() {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("s", "x")
        writer.member("i", 1)
        writer.member("l", Int64.min)
        writer.member("d", 1.5)
        writer.member("b", true)
        writer.member("none", String?.none)
        writer.member("tree", ["a": [1, nil]] as JSON)
        writer.key("empty")
        writer.beginArray()
        writer.endArray()
        writer.key("list")
        writer.beginArray()
        writer.value("a")
        writer.value(2)
        writer.beginObject()
        writer.endObject()
        writer.null()
        writer.raw(Array(#"{"r":1}"#.utf8))
        writer.raw("[0]")
        writer.endArray()
        writer.endObject()
        #expect(
            writer.text
                == #"{"s":"x","i":1,"l":-9223372036854775808,"d":1.5,"b":true,"none":null,"#
                + #""tree":{"a":[1,null]},"empty":[],"list":["a",2,{},null,{"r":1},[0]]}"#
        )
    }

    @Test("nil writes null")
    func nils() {
        var writer = JSONWriter()
        writer.beginArray()
        writer.value(Int?.none)
        writer.value(Int64?.none)
        writer.value(Double?.none)
        writer.value(Bool?.none)
        writer.value(String?.none)
        writer.endArray()
        #expect(writer.text == "[null,null,null,null,null]")
    }

    @Test(
        "numbers",
        arguments: [
            (0.0, "0.0"), (-0.0, "-0.0"), (1e20, "1e+20"), (0.1, "0.1"), (-2.5, "-2.5"),
            (.leastNonzeroMagnitude, "5e-324"), (.infinity, "null"), (-.infinity, "null"),
            (.nan, "null"),
        ]
    )
    func numbers(_ number: Double, _ text: String) {
        #expect(JSON.double(number).text == text)
    }

    @Test("control characters, quotes and backslashes are escaped, the rest is not")
    func escapes() {
        #expect(
            JSON.string("a\"b\\c/\n\r\t\u{0}\u{1F}\u{7F}\u{80}é€😀").text
                == #""a\"b\\c/\n\r\t\u0000\u001f\u007f"# + "\u{80}é€😀\""
        )
        // The first byte that needs an escape may be the first, or the last.
        #expect(JSON.string("\nabc").text == #""\nabc""#)
        #expect(JSON.string("abc\n").text == #""abc\n""#)
        #expect(JSON.object(["\"": 1]).text == #"{"\"":1}"#)
    }

    @Test("each of the first 256 scalars is read back as written")
    func scalars() throws {
        for value in 0..<UInt8.max {
            let text = "x\(Unicode.Scalar(value))y"
            #expect(try JSON(parsing: JSON.string(text).serialized()) == .string(text))
        }
    }
}
