/// A cron pattern: five fields, or six with seconds first.
///
/// Fields take `*`, `?`, numbers, names, lists, ranges and steps; `L` is a month's last day; 7 is
/// Sunday. Where both days are restricted one of them suffices, as in crontab(5).
public struct CronPattern: Sendable, Hashable {
    /// Why a text is no pattern.
    public struct Fault: Error, Sendable, Hashable, CustomStringConvertible {
        /// The reason.
        public let description: String
    }

    let seconds: [Int]
    let minutes: [Int]
    let hours: [Int]
    let days: Set<Int>
    let months: Set<Int>
    let weekdays: Set<Int>
    let hasLastDay: Bool
    private let restrictsDays: Bool
    private let restrictsWeekdays: Bool
    /// Whether the pattern means every hour, and so both of a repeated one.
    let isEveryHour: Bool

    private static let nicknames = [
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    ]
    private static let monthNames = [
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ]
    private static let dayNames = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]

    /// Reads a pattern.
    public init(_ text: String) throws(Fault) {
        let plain = CronPattern.nicknames[text.lowercased()] ?? text
        var fields = plain.split(whereSeparator: \.isWhitespace).map { String($0).uppercased() }
        if fields.count == 5 { fields.insert("0", at: 0) }
        guard fields.count == 6 else {
            throw Fault(description: "the pattern '\(text)' has \(fields.count) fields, not 5 or 6")
        }
        seconds = try CronPattern.values(fields[0], in: 0...59).sorted()
        minutes = try CronPattern.values(fields[1], in: 0...59).sorted()
        hours = try CronPattern.values(fields[2], in: 0...23).sorted()
        let dayParts = fields[3].split(separator: ",").map(String.init)
        hasLastDay = dayParts.contains("L")
        let plainDays = dayParts.filter { $0 != "L" }.joined(separator: ",")
        days = plainDays.isEmpty ? [] : try CronPattern.values(plainDays, in: 1...31)
        months = try CronPattern.values(
            fields[4],
            in: 1...12,
            names: CronPattern.monthNames,
            first: 1
        )
        let weekdays = try CronPattern.values(fields[5], in: 0...7, names: CronPattern.dayNames)
        self.weekdays = Set(weekdays.map { $0 % 7 })
        // A field that names every value restricts nothing, however it is written.
        restrictsDays = days.count < 31
        restrictsWeekdays = self.weekdays.count < 7
        isEveryHour = hours.count == 24
    }

    /// The values of one field.
    private static func values(
        _ field: String,
        in range: ClosedRange<Int>,
        names: [String] = [],
        first: Int = 0
    ) throws(Fault) -> Set<Int> {
        func number(_ text: Substring) throws(Fault) -> Int {
            if let place = names.firstIndex(of: String(text)) { return place + first }
            guard let value = Int(text), range.contains(value) else {
                throw Fault(
                    description: "'\(text)' is not in \(range.lowerBound)…\(range.upperBound)"
                )
            }
            return value
        }
        var values: Set<Int> = []
        for part in field.split(separator: ",", omittingEmptySubsequences: false) {
            let pieces = part.split(separator: "/", omittingEmptySubsequences: false)
            guard pieces.count <= 2, let step = pieces.count == 2 ? Int(pieces[1]) : 1, step > 0
            else { throw Fault(description: "'\(part)' has no step that is a number above 0") }
            var bounds = range
            if pieces[0] != "*" && pieces[0] != "?" {
                let ends = pieces[0].split(separator: "-", omittingEmptySubsequences: false)
                guard (1...2).contains(ends.count) else {
                    throw Fault(description: "'\(part)' is no range")
                }
                let low = try number(ends[0])
                let alone = pieces.count == 2 ? range.upperBound : low
                let high = ends.count == 2 ? try number(ends[1]) : alone
                guard low <= high else { throw Fault(description: "'\(part)' runs backwards") }
                bounds = low...high
            }
            for value in stride(from: bounds.lowerBound, through: bounds.upperBound, by: step) {
                values.insert(value)
            }
        }
        return values
    }

    /// Whether the pattern has times on this day.
    func includes(_ day: CivilDay) -> Bool {
        guard months.contains(day.month) else { return false }
        let isDay = days.contains(day.day) || (hasLastDay && day.isLastOfMonth)
        let isWeekday = weekdays.contains(day.weekday)
        switch (restrictsDays, restrictsWeekdays) {
        case (true, true): return isDay || isWeekday
        case (true, false): return isDay
        case (false, true): return isWeekday
        case (false, false): return true
        }
    }
}
