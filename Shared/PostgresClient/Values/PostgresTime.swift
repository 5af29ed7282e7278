/// `timestamptz` in text form.
///
/// Sessions run with `TimeZone = UTC` and `DateStyle = ISO`, so the server writes
/// `2024-02-29 12:34:56.789012+00`; statements need not convert to an epoch themselves. Milliseconds
/// since 1970 are what the rest of the project counts in; microseconds are rounded down.
enum PostgresTime {
    /// The years 1 to 9999.
    static let writable: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

    /// The text of an instant, or nil when it is not ``writable``.
    static func text(milliseconds: Int64) -> String? {
        guard writable.contains(milliseconds) else { return nil }
        let days = floorDivide(milliseconds, 86_400_000)
        let rest = milliseconds - days * 86_400_000
        let (year, month, day) = civil(days: days)
        return pad(year, 4) + "-" + pad(month, 2) + "-" + pad(day, 2)
            + " " + pad(rest / 3_600_000, 2) + ":" + pad(rest / 60_000 % 60, 2)
            + ":" + pad(rest / 1000 % 60, 2) + "." + pad(rest % 1000, 3) + "+00"
    }

    /// The instant that the server wrote, or nil when it is none (`infinity`, a year before 1).
    static func milliseconds(_ text: some Collection<UInt8>) -> Int64? {
        var rest = text[...]
        guard let year = digits(&rest, 4...6), skip(&rest, "-"), let month = digits(&rest, 2...2),
            skip(&rest, "-"), let day = digits(&rest, 2...2), skip(&rest, " "),
            let hour = digits(&rest, 2...2), skip(&rest, ":"), let minute = digits(&rest, 2...2),
            skip(&rest, ":"), let second = digits(&rest, 2...2),
            year >= 1, (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
            second < 60
        else { return nil }
        var micros: Int64 = 0
        if skip(&rest, ".") {
            let before = rest.count
            guard let fraction = digits(&rest, 1...6) else { return nil }
            micros = fraction
            for _ in (before - rest.count)..<6 { micros *= 10 }
        }
        guard let offset = offset(&rest), rest.isEmpty else { return nil }
        let seconds =
            days(year: year, month: month, day: day) * 86_400
            + hour * 3600 + minute * 60 + second - offset
        return seconds * 1000 + micros / 1000
    }

    /// `+00`, `+05:30` or `-00:12:34`, in seconds east of Greenwich.
    private static func offset<Text: Collection<UInt8>>(_ rest: inout Text) -> Int64?
    where Text.SubSequence == Text {
        let negative = rest.first == UInt8(ascii: "-")
        guard skip(&rest, negative ? "-" : "+"), let hours = digits(&rest, 2...2) else {
            return nil
        }
        var seconds = hours * 3600
        for unit: Int64 in [60, 1] where skip(&rest, ":") {
            guard let part = digits(&rest, 2...2) else { return nil }
            seconds += part * unit
        }
        return negative ? -seconds : seconds
    }

    private static func skip<Text: Collection<UInt8>>(
        _ rest: inout Text,
        _ character: Unicode.Scalar
    ) -> Bool where Text.SubSequence == Text {
        guard rest.first == UInt8(ascii: character) else { return false }
        rest.removeFirst()
        return true
    }

    private static func digits<Text: Collection<UInt8>>(
        _ rest: inout Text,
        _ count: ClosedRange<Int>
    ) -> Int64? where Text.SubSequence == Text {
        var value: Int64 = 0
        var read = 0
        while read < count.upperBound, let byte = rest.first, (48...57).contains(byte) {
            value = value * 10 + Int64(byte - 48)
            rest.removeFirst()
            read += 1
        }
        return count.contains(read) ? value : nil
    }

    private static func pad(_ number: Int64, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }

    // Days from and to a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

    static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = floorDivide(y, 400)
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    static func civil(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = floorDivide(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth + (shiftedMonth < 10 ? 3 : -9)
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        value / divisor - (value % divisor < 0 ? 1 : 0)
    }
}
