import JSON
import Logging
import EventLoop
import Telemetry
import Testing

/// Keeps the lines of a logger.
final class LogRecorder: Sendable {
    private struct State {
        var lines: [[UInt8]] = []
        var droppedKeys = 0
    }

    private let state = Guarded(State())

    var lines: [[UInt8]] { state.withLock { $0.lines } }
    var droppedKeys: Int { state.withLock { $0.droppedKeys } }
    var text: String { lines.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "\n") }

    func entries() throws -> [JSON] {
        try lines.map { line throws(JSONError) in try JSON(parsing: line) }
    }

    func logger(
        level: Logger.Level = .info,
        provider: Logger.MetadataProvider? = nil
    ) -> Logger {
        Logger(label: "test") { label in
            var handler = JSONLogHandler(
                service: "messaging",
                label: label,
                level: level,
                sink: { line in self.state.withLock { $0.lines.append(line) } },
                onDroppedKeys: { count in self.state.withLock { $0.droppedKeys += count } }
            )
            handler.metadataProvider = provider
            return handler
        }
    }
}

@Suite("JSONLogHandlerTests")
struct JSONLogHandlerTests {
    let recorder = LogRecorder()

    @Test("an entry is one line with time, level, service, logger and message")
    func line() throws {
        recorder.logger().warning("hello")
        let entry = try #require(try recorder.entries().first)
        let names = entry.objectValue?.members.map(\.key)
        #expect(names == ["time", "level", "service", "logger", "message"])
        #expect(entry["time"]?.stringValue.flatMap(RFC3339.parse) != nil)
        #expect(entry["level"] == "warning")
        #expect(entry["service"] == "messaging")
        #expect(entry["logger"] == "test")
        #expect(entry["message"] == "hello")
        #expect(!recorder.lines[0].contains(UInt8(ascii: "\n")))
    }

    @Test("the level decides what is written")
    func level() throws {
        var logger = recorder.logger(level: .notice)
        logger.info("no")
        logger.notice("yes")
        logger.logLevel = .debug
        logger.debug("now")
        #expect(try recorder.entries().map { $0["message"] } == ["yes", "now"])
    }

    @Test("the request comes first, other members follow in the order of their names")
    func members() throws {
        recorder.logger()
            .with(requestID: "r1", tenant: "acme", route: "/v1/x")
            .info("done", metadata: ["status": "201", "op": "send", "job_id": "j"])
        let names = try #require(try recorder.entries().first?.objectValue).members.map(\.key)
        #expect(names.suffix(6) == ["request_id", "tenant", "route", "job_id", "op", "status"])
    }

    @Test("nil leaves what the logger knows already")
    func context() throws {
        recorder.logger().with(requestID: "r1").with(tenant: "acme").info("x")
        let entry = try #require(try recorder.entries().first)
        #expect(entry["request_id"] == "r1")
        #expect(entry["tenant"] == "acme")
        #expect(entry["route"] == nil)
    }

    @Test("the entry's own members win over the provider's, and those over the logger's")
    func precedence() throws {
        let provider = Logger.MetadataProvider { ["op": "provided", "code": "provided"] }
        var logger = recorder.logger(provider: provider)
        logger[metadataKey: "op"] = "logger"
        logger[metadataKey: "state"] = "logger"
        logger.info("x", metadata: ["code": "own"])
        let entry = try #require(try recorder.entries().first)
        #expect(entry["state"] == "logger")
        #expect(entry["op"] == "provided")
        #expect(entry["code"] == "own")
    }

    @Test("members that are not allowed are dropped and counted")
    func dropped() throws {
        recorder.logger().info(
            "x",
            metadata: ["text": "CANARY", "op": "ok", "kind": ["a": "CANARY"], "body": "CANARY"]
        )
        let entry = try #require(try recorder.entries().first)
        #expect(entry["op"] == "ok")
        #expect(entry["kind"] == nil)
        #expect(!recorder.text.contains("CANARY"))
        #expect(recorder.droppedKeys == 3)
    }

    @Test("numbers and truth values are not texts; lists are lists")
    func values() throws {
        recorder.logger().info(
            "x",
            metadata: [
                "count": .stringConvertible(3), "took_ms": .stringConvertible(1.5),
                "degraded": .stringConvertible(true), "seq": .stringConvertible(Int64.max),
                "errno": .stringConvertible(Int32(4)), "kind": .stringConvertible(UInt8(7)),
                "setting": ["a", .stringConvertible(1)],
            ]
        )
        let entry = try #require(try recorder.entries().first)
        #expect(entry["count"] == 3)
        #expect(entry["took_ms"] == 1.5)
        #expect(entry["degraded"] == true)
        #expect(entry["seq"] == .int(.max))
        #expect(entry["errno"] == 4)
        #expect(entry["kind"] == "7")
        #expect(entry["setting"] == ["a", 1])
    }

    @Test("an error of the entry is told, without its secrets")
    func error() throws {
        struct Failure: Error, CustomStringConvertible {
            var description: String { "login failed: password=CANARY" }
        }
        recorder.logger().error("x", error: Failure())
        #expect(try recorder.entries().first?["error"] == "login failed: password=***")
    }

    @Test("planted secrets appear nowhere, whatever carries them")
    func canaries() throws {
        let secrets = [
            "xoxb-CANARY-1", "sb_key_CANARY", "sk-CANARY-12345", "Bearer CANARY",
            "password=CANARY", "https://u:CANARY@host/",
        ]
        for secret in secrets {
            let logger = recorder.logger().with(requestID: secret, tenant: secret, route: secret)
            logger.info(
                "told \(secret)",
                metadata: [
                    "error": .string(secret), "url": .array([.string(secret)]),
                    "detail": .stringConvertible(Substring(secret)),
                ]
            )
        }
        #expect(recorder.lines.count == secrets.count)
        #expect(!recorder.text.contains("CANARY"))
        #expect(
            try recorder.entries().allSatisfy { $0["detail"]?.stringValue?.contains("***") == true }
        )
    }

    @Test("nothing in a line can end it or move a terminal")
    func controls() throws {
        let text = "a\nb\r\u{0}\u{1B}[2J\u{7F}\u{85}\u{9B}\u{2028}\u{202E}\u{2066}\u{FEFF}\"\\ é😀"
        recorder.logger().info("\(text)", metadata: ["op": .string(text)])
        let line = recorder.lines[0]
        let scalars = String(decoding: line, as: UTF8.self).unicodeScalars
        #expect(!scalars.contains { $0.properties.generalCategory == .control })
        #expect(
            !scalars.contains { ["\u{2028}", "\u{202E}", "\u{2066}", "\u{FEFF}"].contains($0) }
        )
        let entry = try JSON(parsing: line)
        #expect(entry["message"] == .string(text))
        #expect(entry["op"] == .string(text))
    }

    @Test("long texts are cut, at a character and never in an escape")
    func longTexts() throws {
        for unit in ["x", "é", "😀", "\"", "\u{1}", "a\u{1}é"] {
            for shift in 0..<7 {
                let text =
                    String(repeating: "-", count: shift) + String(repeating: unit, count: 5000)
                recorder.logger().info("\(text)", metadata: ["op": .string(text)])
                let line = try #require(recorder.lines.last)
                #expect(line.count <= JSONLogHandler.lineBytesMax)
                let entry = try JSON(parsing: line)
                let message = try #require(entry["message"]?.stringValue)
                #expect(message.hasSuffix("…") && text.hasPrefix(message.dropLast()))
                #expect(entry["op"]?.stringValue?.hasSuffix("…") == true)
            }
        }
    }

    @Test("a text that just fits is not cut")
    func exactFit() throws {
        let fits = String(repeating: "x", count: JSONLogHandler.messageBytesMax)
        recorder.logger().info("\(fits)")
        recorder.logger().info("\(fits)y")
        let messages = try recorder.entries().map { $0["message"]?.stringValue ?? "" }
        #expect(messages[0] == fits)
        #expect(messages[1].utf8.count == JSONLogHandler.messageBytesMax)
        #expect(messages[1].hasSuffix("…"))
    }

    @Test("a line that would be too long says that members are missing")
    func longLine() throws {
        let long = String(repeating: "v", count: 600)
        var metadata: Logger.Metadata = [:]
        for key in LogKeys.details { metadata[key] = .string(long) }
        recorder.logger().with(requestID: "r1").info(
            "\(String(repeating: "m", count: 9000))",
            metadata: metadata
        )
        let line = recorder.lines[0]
        #expect(line.count <= JSONLogHandler.lineBytesMax)
        let entry = try JSON(parsing: line)
        #expect(entry["truncated"] == true)
        #expect(entry["request_id"] == "r1")
    }

    @Test("a secret behind the place of the cut is not uncovered by it")
    func cutSecret() {
        for length in 4060...4110 {
            let text = String(repeating: "m", count: length) + " xoxb-CANARYCANARY"
            recorder.logger().info("\(text)")
        }
        #expect(!recorder.text.contains("CANARY"))
    }
}
