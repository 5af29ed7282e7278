import Testing

@testable import RedisClient

@Suite("SubscriptionTable")
struct SubscriptionTableTests {
    private let news = RedisSubscription.channel("news")
    private let all = RedisSubscription.pattern("*")

    @Test("only new wishes and held ones are told to the server")
    func wishes() {
        var table = SubscriptionTable<Int>()
        #expect(table.want(news, 1) == true)
        #expect(table.want(news, 2) == false)
        #expect(table.handler(of: news) == 2)
        #expect(table.drop(news) == true)
        #expect(table.drop(news) == false)
        #expect(table.handler(of: news) == nil)
        #expect(table.anyWanted == nil)
    }

    @Test("a confirmation counts while it is wanted and until the connection goes")
    func confirmations() {
        var table = SubscriptionTable<Int>()
        table.confirm(news)
        #expect(!table.isConfirmed(news))
        _ = table.want(news, 1)
        table.confirm(news)
        #expect(table.isConfirmed(news))
        table.lose()
        #expect(!table.isConfirmed(news))
        #expect(table.wanted == [news])
    }

    @Test("everything is restored once per loss, when the last confirmation is here")
    func restoring() {
        var table = SubscriptionTable<Int>()
        _ = table.want(news, 1)
        _ = table.want(all, 2)
        table.confirm(news)
        table.confirm(all)
        #expect(table.takeRestored() == false)
        table.lose()
        #expect(table.takeRestored() == false)
        table.confirm(news)
        #expect(table.takeRestored() == false)
        table.lose()
        table.confirm(news)
        table.confirm(all)
        #expect(table.takeRestored() == true)
        #expect(table.takeRestored() == false)
    }

    @Test("dropping what was missing restores too; a first connection restores nothing")
    func droppedWhileRestoring() {
        var table = SubscriptionTable<Int>()
        _ = table.want(news, 1)
        table.lose()
        table.confirm(news)
        #expect(table.takeRestored() == false)
        _ = table.want(all, 2)
        table.lose()
        table.confirm(news)
        #expect(table.takeRestored() == false)
        _ = table.drop(all)
        #expect(table.takeRestored() == true)
    }

    @Test("what the server sends is read, and nothing else is taken for it")
    func pushes() {
        func words(_ words: String...) -> [RedisValue] { words.map { .string(Array($0.utf8)) } }
        let message = RedisMessage(subscription: news, channel: "news", payload: Array("x".utf8))
        #expect(RedisPush(.array(words("message", "news", "x"))) == .message(message))
        let matched = RedisMessage(subscription: all, channel: "news", payload: Array("x".utf8))
        #expect(RedisPush(.array(words("pmessage", "*", "news", "x"))) == .message(matched))
        #expect(RedisPush(.array(words("subscribe", "news") + [.int(1)])) == .subscribed(news))
        #expect(RedisPush(.array(words("psubscribe", "*") + [.int(2)])) == .subscribed(all))
        #expect(RedisPush(.array(words("unsubscribe", "news") + [.int(0)])) == .unsubscribed(news))
        #expect(RedisPush(.array(words("punsubscribe", "*") + [.int(0)])) == .unsubscribed(all))
        for odd: RedisValue in [
            .null, .array([]), .array(words("message", "news")), .array(words("pong", "", "")),
            .array(words("pmessage", "*", "news")),
            .array(words("unsubscribe") + [.null, .int(0)]),
            .array(words("message", "news") + [.int(1)]), .status("OK"),
        ] {
            #expect(RedisPush(odd) == nil)
        }
    }
}
