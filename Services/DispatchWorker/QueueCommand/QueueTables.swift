internal import JSON
internal import JobQueue
internal import Telemetry

extension Job {
    /// All that is known of it.
    func json(state: JobState? = nil) -> JSON {
        var object: JSONObject = [
            "id": .string(id), "name": .string(name),
            "data": (try? dataValue()) ?? .string(dataText),
            "opts": options.map { .object($0.json) } ?? .null,
            "timestamp": .int(timestamp), "delay": .int(delay), "priority": .int(Int64(priority)),
            "attemptsStarted": .int(Int64(attemptsStarted)),
            "attemptsMade": .int(Int64(attemptsMade)),
            "stalledCount": .int(Int64(stalledCount)),
            "stacktrace": JSON(stackTrace),
        ]
        object["state"] = state.map { .string($0.rawValue) }
        object["processedOn"] = processedOn.map { .int($0) }
        object["finishedOn"] = finishedOn.map { .int($0) }
        object["progress"] = progress.map(Job.value)
        object["returnvalue"] = returnValue.map(Job.value)
        object["failedReason"] = failedReason.map { .string($0) }
        object["parentKey"] = parentKey.map { .string($0) }
        object["scheduler"] = scheduler.map { .string($0) }
        object["deduplicationId"] = deduplicationID.map { .string($0) }
        object["deferredFailure"] = deferredFailure.map { .string($0) }
        return .object(object)
    }

    private static func value(_ text: String) -> JSON {
        (try? JSON(parsing: Array(text.utf8))) ?? .string(text)
    }
}

/// Columns of text.
enum Table {
    /// How wide a column gets at most, but for the last one.
    private static let widthMax = 48

    /// Lines of `rows` under `heads`.
    static func lines(_ heads: [String], _ rows: [[String]]) -> String {
        let cells = [heads] + rows.map { row in row.map { String($0.prefix(widthMax)) } }
        let widths = heads.indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
        return cells.map { row in
            let padded = zip(row, widths).map { text, width in
                text + String(repeating: " ", count: width - text.count)
            }
            var line = padded.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }
        .joined(separator: "\n")
    }
}
