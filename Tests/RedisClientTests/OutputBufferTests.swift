import Testing

@testable import RedisClient

@Suite("OutputBuffer and CommandEncoder")
struct OutputBufferTests {
    private func text(_ output: borrowing OutputBuffer) -> String {
        String(decoding: output.bytes, as: UTF8.self)
    }

    @Test("commands are written as bulk strings, one behind the other")
    func encoding() {
        var output = OutputBuffer()
        CommandEncoder.encode(
            ["SET", "é", .bytes([0, 13, 10]), 0, -1, .int(.min), .int(.max), 1200, ""],
            to: &output
        )
        let expected =
            "*9\r\n$3\r\nSET\r\n$2\r\né\r\n$3\r\n\0\r\n\r\n$1\r\n0\r\n$2\r\n-1\r\n"
            + "$20\r\n-9223372036854775808\r\n$19\r\n9223372036854775807\r\n$4\r\n1200\r\n$0\r\n\r\n"
        let first = text(output)
        #expect(first == expected)
        CommandEncoder.encode(["PING"], to: &output)
        let both = text(output)
        #expect(both == expected + "*1\r\n$4\r\nPING\r\n")
    }

    @Test("numbers of every length are written whole")
    func numbers() {
        var number: Int64 = 1
        for digits in 1...18 {
            for near in [number - 1, number, -number] {
                var output = OutputBuffer()
                CommandEncoder.encode([.int(near)], to: &output)
                let word = "\(near)"
                let written = text(output)
                #expect(written == "*1\r\n$\(word.count)\r\n\(word)\r\n", "\(digits) digits")
            }
            number *= 10
        }
    }

    @Test("what is taken off the front is gone, and the rest stays in order", arguments: 1...40)
    func consuming(step: Int) {
        var output = OutputBuffer()
        var expected: [UInt8] = []
        var taken: [UInt8] = []
        for round in 0..<400 {
            let word = [UInt8](repeating: UInt8(round % 251), count: round % 61)
            output.append(upTo: word.count + 7) { start in
                UnsafeMutableRawBufferPointer(start: start, count: word.count).copyBytes(from: word)
                return word.count
            }
            expected += word
            let count = min(step, output.count)
            taken += output.bytes.prefix(count)
            output.consume(count)
        }
        taken += output.bytes
        output.consume(output.count)
        #expect(taken == expected)
        let rest = output.count
        #expect(rest == 0)
    }

    @Test("a queue that is never empty does not grow by what has left")
    func neverEmpty() {
        var output = OutputBuffer()
        for _ in 0..<10_000 {
            CommandEncoder.encode([.bytes([UInt8](repeating: 1, count: 1000))], to: &output)
            let count = output.count
            if count > 10_000 { output.consume(count - 10_000) }
        }
        let capacity = output.capacity
        #expect(capacity <= 64 * 1024)
    }

    @Test("memory that one large command made is given back when it has left")
    func largeCommand() {
        var output = OutputBuffer()
        let size = 4 * OutputBuffer.bytesKept
        CommandEncoder.encode([.bytes([UInt8](repeating: 1, count: size))], to: &output)
        output.consume(output.count - 1)
        let full = output.capacity
        #expect(full > size)
        output.consume(1)
        let empty = output.capacity
        #expect(empty <= OutputBuffer.bytesKept)
    }
}
