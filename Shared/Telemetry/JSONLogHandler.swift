internal import EventLoop
public import Logging

/// Writes each log entry as one line of JSON.
///
/// Members: `time`, `level`, `service`, `logger`, `message`, then those of ``LogKeys``. A line has
/// at most ``lineBytesMax`` bytes; what does not fit is cut or left out, and the line says so.
public struct JSONLogHandler: LogHandler {
    /// The longest line, without its line break.
    public static let lineBytesMax = 8192
    /// The longest message, in bytes as written.
    public static let messageBytesMax = 4096
    /// The longest value of a member, in bytes as written.
    public static let valueBytesMax = 512

    /// Entries below this level are not written.
    public var logLevel: Logger.Level
    /// Members of every entry of this handler.
    public var metadata: Logger.Metadata = [:]
    /// Asked for members at each entry.
    public var metadataProvider: Logger.MetadataProvider?

    /// `service` and `logger`, ready to be written.
    private let service: [UInt8]
    private let label: [UInt8]
    private let sink: @Sendable ([UInt8]) -> Void
    private let onDroppedKeys: @Sendable (Int) -> Void

    /// A handler for the logger `label` of `service`.
    ///
    /// `sink` takes the finished lines, `onDroppedKeys` learns how many members were not allowed.
    public init(
        service: String,
        label: String,
        level: Logger.Level,
        sink: @escaping @Sendable ([UInt8]) -> Void,
        onDroppedKeys: @escaping @Sendable (Int) -> Void
    ) {
        self.service = JSONLogHandler.quoted(service)
        self.label = JSONLogHandler.quoted(label)
        self.logLevel = level
        self.sink = sink
        self.onDroppedKeys = onDroppedKeys
    }

    /// The value of one member.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes `event`.
    public func log(event: LogEvent) {
        var line = LogLine(
            time: WallClock.milliseconds(),
            level: event.level,
            service: service,
            label: label,
            message: event.message.description
        )
        let dropped = addMembers(of: event, to: &line)
        line.end()
        sink(line.bytes)
        if dropped > 0 { onDroppedKeys(dropped) }
    }

    /// Adds the members in the order of their names, the request's first; returns how many were
    /// dropped because nobody allowed them.
    private func addMembers(of event: LogEvent, to line: inout LogLine) -> Int {
        // The entry's own win over the provider's, and those over the logger's. There are few of
        // them: looking through them is cheaper than a dictionary of them.
        var members: [(key: String, value: Logger.MetadataValue)] = []
        if let error = event.error { members.append(("error", "\(error)")) }
        for source in [event.metadata, metadataProvider?.get(), metadata] {
            for (key, value) in source ?? [:] where !members.contains(where: { $0.key == key }) {
                members.append((key, value))
            }
        }
        members.sort { $0.key < $1.key }
        var dropped = 0
        for key in LogKeys.context {
            guard let member = members.first(where: { $0.key == key }) else { continue }
            if !line.add(key, member.value) { dropped += 1 }
        }
        for (key, value) in members where !LogKeys.context.contains(key) {
            if !LogKeys.details.contains(key) || !line.add(key, value) { dropped += 1 }
        }
        return dropped
    }

    private static func quoted(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        LogText.append(text, bytesMax: valueBytesMax, to: &bytes)
        return bytes
    }
}

extension Logger {
    /// The same logger with the request's identity in every entry; nil leaves a member as it is.
    public func with(
        requestID: String? = nil,
        tenant: String? = nil,
        route: String? = nil
    ) -> Logger {
        var logger = self
        if let requestID { logger[metadataKey: "request_id"] = .string(requestID) }
        if let tenant { logger[metadataKey: "tenant"] = .string(tenant) }
        if let route { logger[metadataKey: "route"] = .string(route) }
        return logger
    }
}
