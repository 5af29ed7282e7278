internal import TimeZones
internal import FoundationEssentials
internal import FoundationInternationalization
internal import JSON

/// Hours: weekly windows in a zone of their own, and days that differ.
///
/// Everything is resolved in the zone at the moment of asking, so a change to summer time moves the
/// windows with the clock on the wall. A window whose end is not after its beginning crosses midnight
/// and belongs to the day on which it begins.
struct Schedule: Sendable, Hashable {
    /// A part of a day, in minutes since its midnight.
    struct Window: Sendable, Hashable {
        let from: Int
        let to: Int

        /// How long it lasts on the wall's clock.
        var length: Int { to > from ? to - from : to + 1440 - from }
    }

    /// How far ahead the next opening is looked for.
    static let daysAhead = 400
    static let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    let zone: TimeZone
    /// By day of the week, 0 is Sunday.
    let windows: [Int: [Window]]
    /// By date, as `2026-12-24`; no windows: closed.
    let exceptions: [String: [Window]]

    /// Reads what `assignment.schedules` holds; nil when its zone is not known here.
    init?(_ json: JSON) {
        guard let zone = json["tz"]?.stringValue.flatMap(TimeZone.iana) else {
            return nil
        }
        self.zone = zone
        var windows: [Int: [Window]] = [:]
        for entry in json["windows"]?.arrayValue ?? [] {
            guard let name = entry["day"]?.stringValue,
                let day = Schedule.days.firstIndex(of: name), let window = Schedule.window(entry)
            else { continue }
            windows[day, default: []].append(window)
        }
        var exceptions: [String: [Window]] = [:]
        for entry in json["exceptions"]?.arrayValue ?? [] {
            guard let date = entry["date"]?.stringValue else { continue }
            exceptions[date] = (entry["windows"]?.arrayValue ?? []).compactMap(Schedule.window)
        }
        self.windows = windows
        self.exceptions = exceptions
    }

    private static func window(_ json: JSON) -> Window? {
        guard let from = minutes(json["from"]?.stringValue),
            let to = minutes(json["to"]?.stringValue)
        else { return nil }
        return Window(from: from, to: to)
    }

    /// `09:30` as minutes since midnight; `24:00` is the day's end.
    static func minutes(_ text: String?) -> Int? {
        guard let text else { return nil }
        if text == "24:00" { return 24 * 60 }
        guard TextPattern.clock.matches(text), let hour = Int(text.prefix(2)),
            let minute = Int(text.suffix(2))
        else { return nil }
        return hour * 60 + minute
    }

    /// Whether it is open at `now`, milliseconds since 1970.
    func isOpen(at now: Int64) -> Bool {
        let day = localDay(now)
        // Yesterday's window may last past midnight.
        return spans(on: day - 1, count: 2).contains { $0.contains(now) }
    }

    /// The next instant at which it is open, `now` itself when it is; nil when there is none within
    /// ``daysAhead``.
    func opening(after now: Int64) -> Int64? {
        if isOpen(at: now) { return now }
        let today = localDay(now)
        for day in today...today + Schedule.daysAhead {
            let begins = spans(on: day, count: 1).map(\.lowerBound).filter { $0 > now }
            if let first = begins.min() { return first }
        }
        return nil
    }

    /// The windows of some days as instants.
    private func spans(on first: Int, count: Int) -> [Range<Int64>] {
        (first..<first + count).flatMap { day in
            windows(on: day).compactMap { window in
                let begin = instant(day: day, minute: window.from)
                let end = instant(day: day, minute: window.from + window.length)
                return begin < end ? begin..<end : nil
            }
        }
    }

    private func windows(on day: Int) -> [Window] {
        // Day 0, 1970-01-01, was a Thursday.
        exceptions[Schedule.date(day)] ?? windows[(day % 7 + 11) % 7] ?? []
    }

    // MARK: Days and instants

    /// The day on the wall's calendar, counted from 1970-01-01.
    private func localDay(_ instant: Int64) -> Int {
        Int((instant + offset(instant)) / 86_400_000)
    }

    /// The instant of a time on the wall's clock.
    ///
    /// A time that the clock jumps over means the moment of the jump; one that comes twice, the first.
    private func instant(day: Int, minute: Int) -> Int64 {
        let wall = Int64(day) * 86_400_000 + Int64(minute) * 60_000
        let before = offset(wall - 86_400_000)
        let after = offset(wall + 86_400_000)
        let early = wall - before
        if offset(early) == before { return early }
        let late = wall - after
        if offset(late) == after { return late }
        return jump(from: late, to: early)
    }

    /// The moment in between at which the offset changes.
    private func jump(from first: Int64, to last: Int64) -> Int64 {
        var (low, high) = (first, last)
        let old = offset(low)
        while high - low > 1 {
            let middle = low + (high - low) / 2
            if offset(middle) == old { low = middle } else { high = middle }
        }
        return high
    }

    private func offset(_ instant: Int64) -> Int64 {
        let date = Date(timeIntervalSince1970: Double(instant) / 1000)
        return Int64(zone.secondsFromGMT(for: date)) * 1000
    }

    /// The date of a day counted from 1970-01-01 (Hinnant's days_to_civil).
    static func date(_ day: Int) -> String {
        let shifted = day + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted - era * 146_097
        let year = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * year + year / 4 - year / 100)
        let monthShifted = (5 * dayOfYear + 2) / 153
        let date = dayOfYear - (153 * monthShifted + 2) / 5 + 1
        let month = monthShifted < 10 ? monthShifted + 3 : monthShifted - 9
        let parts = [year + era * 400 + (month <= 2 ? 1 : 0), month, date]
        return parts.map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: "-")
    }

    /// A moment as people at the schedule's place read it: `Mon 09:00`.
    func wallClock(_ instant: Int64) -> String {
        let style = Date.FormatStyle(locale: Locale(identifier: "en_GB"), timeZone: zone)
            .weekday(.abbreviated).hour(.twoDigits(amPM: .omitted)).minute(.twoDigits)
        return Date(timeIntervalSince1970: Double(instant) / 1000).formatted(style)
    }
}
