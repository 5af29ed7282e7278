import Testing

@testable import RedisClient

@Suite("RedisKeySlot")
struct RedisKeySlotTests {
    @Test(
        "a tag is what stands in the first braces, if anything does",
        arguments: [
            ("plain", nil), ("{t}:a", "t"), ("a:{t}:b", "t"), ("{}:a", nil), ("{}{t}", nil),
            ("{a}{b}", "a"), ("{{a}}", "{a"), ("{a", nil), ("a}", nil), ("}{a}", "a"), ("", nil),
        ] as [(String, String?)]
    )
    func tags(key: String, tag: String?) {
        #expect(RedisKeySlot.tag(of: key) == tag)
    }

    @Test(
        "slots known from the specification",
        arguments: [
            ("123456789", 0x31C3), ("foo", 12_182), ("bar", 5061), ("hello", 866), ("", 0),
            ("{foo}x", 12_182), ("x{foo}", 12_182),
        ]
    )
    func slots(key: String, slot: Int) {
        #expect(RedisKeySlot.slot(of: key) == slot % RedisKeySlot.count)
    }

    @Test("keys with one tag share a slot, with two they do not, untagged ones do not count")
    func sharing() {
        #expect(RedisKeySlot.shareSlot(["lock:{acme}:1", "job:{acme}:2", "plain"]))
        #expect(!RedisKeySlot.shareSlot(["lock:{acme}:1", "job:{other}:2"]))
        #expect(RedisKeySlot.shareSlot(["one", "two"]))
        #expect(RedisKeySlot.shareSlot(["one{}", "two{}"]))
        #expect(RedisKeySlot.shareSlot([]))
    }
}
