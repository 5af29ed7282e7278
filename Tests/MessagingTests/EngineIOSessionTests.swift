import EventLoop
import Testing

@testable import messaging

@Suite("Engine.IO session")
struct EngineIOSessionTests {
    private static func texts(_ poll: [UInt8]) -> [String] {
        poll.split(separator: EngineIOSession.separator).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test("what waits comes in polls of no more packets than clients take, in order")
    @LoopActor func polls() async {
        let session = EngineIOSession(sid: "s")
        for number in 0..<40 { session.send(message: Array("\(number)".utf8)) }
        var polls: [[String]] = []
        for _ in 0..<3 { polls.append(EngineIOSessionTests.texts(await session.polled())) }
        #expect(polls.map(\.count) == [16, 16, 8])
        #expect(polls.flatMap { $0 } == (0..<40).map { "4\($0)" })
        // The next one waits for what comes.
        async let next = session.polled()
        try? await EventLoop.shared.sleep(for: .milliseconds(5))
        session.send(message: Array("more".utf8))
        #expect(EngineIOSessionTests.texts(await next) == ["4more"])
        session.end()
        #expect(EngineIOSessionTests.texts(await session.polled()) == ["1"])
    }

    @Test("who polls too slowly has no room, and is dropped when more comes all the same")
    @LoopActor func room() async {
        let session = EngineIOSession(sid: "s")
        let half = [UInt8](repeating: 0x61, count: EngineIOSession.waitingMax / 2)
        #expect(await session.waitForRoom())
        session.send(message: half)
        async let hasRoom = session.waitForRoom()
        try? await EventLoop.shared.sleep(for: .milliseconds(5))
        _ = await session.polled()
        #expect(await hasRoom)
        session.send(message: half)
        session.send(message: half)
        #expect(!session.isOpen)
        #expect(await !session.waitForRoom())
    }
}
