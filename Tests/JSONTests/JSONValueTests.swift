import JSON
import Testing

@Suite("JSONValueTests")
struct JSONValueTests {
    @Test("accessors answer for their own kind only")
    func accessors() {
        let kinds: [JSON] = [nil, true, 1, 1.5, "s", [1], ["a": 1]]
        #expect(kinds.map(\.isNull) == [true, false, false, false, false, false, false])
        #expect(kinds.map(\.boolValue) == [nil, true, nil, nil, nil, nil, nil])
        #expect(kinds.map(\.intValue) == [nil, nil, 1, nil, nil, nil, nil])
        #expect(kinds.map(\.doubleValue) == [nil, nil, 1, 1.5, nil, nil, nil])
        #expect(kinds.map(\.stringValue) == [nil, nil, nil, nil, "s", nil, nil])
        #expect(kinds.map(\.arrayValue) == [nil, nil, nil, nil, nil, [1], nil])
        #expect(kinds.map(\.objectValue) == [nil, nil, nil, nil, nil, nil, ["a": 1]])
    }

    @Test("whole numbers count as integers however they are written")
    func wholeNumbers() {
        #expect(JSON.double(1e3).intValue == 1000)
        #expect(JSON.double(1e19).intValue == nil)
        #expect(JSON.double(-0.0).intValue == 0)
        #expect(JSON.double(.nan).intValue == nil)
    }

    @Test("subscripts reach members and elements, and nil beyond them")
    func subscripts() {
        let value: JSON = ["a": ["x", ["b": 1]]]
        #expect(value["a"]?[1]?["b"] == 1)
        #expect(value["z"] == nil)
        #expect(value["a"]?[2] == nil)
        #expect(value["a"]?[-1] == nil)
        #expect(value[0] == nil)
        #expect(JSON.null["a"] == nil)
    }

    @Test("absent values become null")
    func optionals() {
        #expect(JSON(String?.none) == .null)
        #expect(JSON(Int?.none) == .null)
        #expect(JSON(5) == .int(5))
        #expect(JSON("x") == .string("x"))
        #expect(JSON(["x", "y"]) == ["x", "y"])
    }
}

@Suite("JSONObjectTests")
struct JSONObjectTests {
    @Test(
        "members keep their order; assignment replaces in place, nil removes",
        arguments: [3, 40]
    )
    func members(_ count: Int) {
        var object = JSONObject()
        for number in 0..<count { object["k\(number)"] = .int(Int64(number)) }
        object["k1"] = "one"
        object["k0"] = nil
        object["absent"] = nil
        object["last"] = true
        #expect(object.count == count)
        #expect(object.members.first?.key == "k1")
        #expect(object.members.last?.key == "last")
        #expect(object["k1"] == "one")
        #expect(object["k0"] == nil)
        for number in 2..<count { #expect(object["k\(number)"] == .int(Int64(number))) }
    }

    @Test("members are found on both sides of the index's threshold")
    func threshold() {
        var object = JSONObject()
        for number in 0..<20 {
            object["k\(number)"] = .int(Int64(number))
            for earlier in 0...number { #expect(object["k\(earlier)"] == .int(Int64(earlier))) }
            #expect(object["k\(number + 1)"] == nil)
        }
        for number in 0..<20 {
            object["k\(number)"] = nil
            #expect(object["k\(number)"] == nil)
            for later in (number + 1)..<20 { #expect(object["k\(later)"] == .int(Int64(later))) }
        }
        #expect(object.isEmpty)
    }

    @Test("equality and hash ignore the order of members")
    func equality() {
        let left: JSON = ["a": 1, "b": [true]]
        let right: JSON = ["b": [true], "a": 1]
        #expect(left == right)
        #expect(left.hashValue == right.hashValue)
        #expect(left != ["a": 1])
        #expect(left != ["a": 1, "b": [false]])
        #expect(left != ["a": 1, "c": [true]])
    }

    @Test("of two members of a literal with one name the later wins")
    func literal() {
        let object: JSONObject = ["a": 1, "a": 2]
        #expect(object == ["a": 2])
        #expect(object.count == 1)
    }
}
