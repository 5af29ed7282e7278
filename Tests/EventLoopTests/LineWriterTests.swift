import Dispatch
import EventLoop
import Glibc
import Testing

@Suite("LineWriterTests")
struct LineWriterTests {
    /// A pipe whose reader takes what it is told to take.
    private final class Pipe: Sendable {
        let reader: Int32
        let writer: Int32

        init() {
            var ends: [Int32] = [0, 0]
            precondition(pipe(&ends) == 0)
            (reader, writer) = (ends[0], ends[1])
        }

        deinit {
            Glibc.close(reader)
            Glibc.close(writer)
        }

        /// Reads whatever comes until `count` lines are complete or nothing comes for a second.
        func lines(_ count: Int) -> [String] {
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65536)
            while bytes.count(where: { $0 == UInt8(ascii: "\n") }) < count {
                var watched = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
                guard poll(&watched, 1, 1000) == 1 else { break }
                let count = read(reader, &buffer, buffer.count)
                bytes += buffer.prefix(max(0, count))
            }
            return bytes.split(separator: UInt8(ascii: "\n")).map {
                String(decoding: $0, as: UTF8.self)
            }
        }
    }

    @Test("lines arrive whole and in order, whoever writes them")
    func order() {
        let pipe = Pipe()
        let writer = LineWriter(descriptor: pipe.writer)
        defer { writer.close() }
        DispatchQueue.concurrentPerform(iterations: 4) { name in
            for number in 0..<100 { writer.append(Array("\(name) \(number)".utf8)) }
        }
        let lines = pipe.lines(400)
        #expect(lines.count == 400)
        for name in 0..<4 {
            #expect(lines.filter { $0.hasPrefix("\(name) ") } == (0..<100).map { "\(name) \($0)" })
        }
        #expect(writer.flush(within: .seconds(1)))
        #expect(writer.droppedLines == 0)
    }

    @Test("a reader that stands still costs lines, never the caller's time")
    func fullPipe() {
        let pipe = Pipe()
        let writer = LineWriter(descriptor: pipe.writer, bytesMax: 10_000)
        defer { writer.close() }
        writer.announceDrops { Array("lost \($0)".utf8) }
        let line = [UInt8](repeating: UInt8(ascii: "x"), count: 999)
        // The pipe holds 4 KiB and the ring 10 on each side: of 200 kB most is refused.
        _ = fcntl(pipe.writer, 1031 /* F_SETPIPE_SZ, hidden by glibc */, 4096)
        let taken = (0..<200).count { _ in writer.append(line) }
        #expect((10...30).contains(taken))
        #expect(writer.droppedLines == 200 - taken)
        #expect(!writer.flush(within: .milliseconds(20)))

        // One notice, or two when the thread took its first lines late.
        var lines = pipe.lines(taken + 1)
        #expect(writer.flush(within: .seconds(1)))
        let lost = { lines.compactMap { $0.hasPrefix("lost ") ? Int($0.dropFirst(5)) : nil } }
        if lost().reduce(0, +) < 200 - taken { lines += pipe.lines(1) }
        #expect(lines.count { $0.utf8.count == 999 } == taken)
        #expect(lost().reduce(0, +) == 200 - taken)
        writer.append(Array("after".utf8))
        #expect(pipe.lines(1) == ["after"])
    }

    @Test("a line exactly as long as the ring fits, one byte more does not")
    func bound() {
        let pipe = Pipe()
        let writer = LineWriter(descriptor: pipe.writer, bytesMax: 10)
        defer { writer.close() }
        #expect(writer.append(Array("123456789".utf8)))
        #expect(writer.flush(within: .seconds(1)))
        #expect(!writer.append(Array("1234567890".utf8)))
        #expect(writer.droppedLines == 1)
        #expect(pipe.lines(1) == ["123456789"])
    }

    @Test("a descriptor that fails loses lines, counted, and stops nobody")
    func failing() {
        let pipe = Pipe()
        let writer = LineWriter(descriptor: -1)
        defer { writer.close() }
        writer.announceDrops { Array("lost \($0)".utf8) }
        for _ in 0..<3 {
            writer.append(Array("a".utf8))
            #expect(writer.flush(within: .seconds(1)))
        }
        #expect(writer.droppedLines == 3)
        withExtendedLifetime(pipe) {}
    }

    @Test("a non-blocking descriptor is waited for")
    func nonBlocking() {
        let pipe = Pipe()
        _ = fcntl(pipe.writer, F_SETFL, O_NONBLOCK)
        let writer = LineWriter(descriptor: pipe.writer)
        defer { writer.close() }
        for number in 0..<3000 {
            writer.append(Array("\(number) \(String(repeating: "y", count: 60))".utf8))
        }
        let lines = pipe.lines(3000)
        #expect(lines.count == 3000)
        #expect(lines.last?.hasPrefix("2999 ") == true)
        #expect(writer.droppedLines == 0)
    }

    @Test("what waits at close is written, what comes later is dropped")
    func close() {
        let pipe = Pipe()
        let writer = LineWriter(descriptor: pipe.writer)
        writer.append(Array("last".utf8))
        writer.close()
        #expect(!writer.append(Array("late".utf8)))
        #expect(pipe.lines(1) == ["last"])
        #expect(writer.flush(within: .seconds(1)))
    }

    @Test("whenever it is closed, nothing is left to wait for")
    func closeRaces() {
        let pipe = Pipe()
        for number in 0..<3000 {
            let writer = LineWriter(descriptor: pipe.writer)
            writer.append(Array("a".utf8))
            // The thread takes the line at about this time: the close comes now before, now after.
            for _ in 0..<number % 60 { sched_yield() }
            writer.close()
            #expect(writer.flush(within: .seconds(2)))
            #expect(pipe.lines(1) == ["a"])
        }
    }

    @Test("lines that are dropped without a notice do not stop the writer")
    func dropsWithoutNotice() {
        let pipe = Pipe()
        let writer = LineWriter(descriptor: pipe.writer, bytesMax: 10)
        defer { writer.close() }
        for _ in 0..<500 {
            writer.append(Array("a".utf8))
            writer.append(Array("longer than the ring".utf8))
            #expect(writer.flush(within: .seconds(2)))
            #expect(pipe.lines(1) == ["a"])
        }
        #expect(writer.droppedLines == 500)
    }

    @Test("the end of the process writes what waits")
    func exit() async {
        let result = await #expect(
            processExitsWith: .success,
            observing: [\.standardOutputContent]
        ) {
            for number in 0..<100 { LineWriter.standardOutput.append(Array("<\(number)>".utf8)) }
            Glibc.exit(0)
        }
        let text = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
        for number in 0..<100 { #expect(text.contains("<\(number)>\n")) }
    }

    @Test("the end of the process waits for a reader only so long", .timeLimit(.minutes(1)))
    func exitBound() async {
        await #expect(processExitsWith: .exitCode(7)) {
            // Handlers run from last to first: this one runs only when the flush has given up.
            atexit { Glibc._exit(7) }
            // A pipe that nobody reads stands in for standard output.
            var ends: [Int32] = [0, 0]
            precondition(pipe(&ends) == 0)
            precondition(dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO)
            let line = [UInt8](repeating: 0x78, count: 9999)
            for _ in 0..<50 { LineWriter.standardOutput.append(line) }
            Glibc.exit(0)
        }
    }
}
