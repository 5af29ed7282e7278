/// Times as text (RFC 3339), as they appear in every request and answer.
///
/// A time is a number of milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
public enum RFC3339 {
    /// 0000-01-01T00:00:00.000Z, the earliest time that the format can express.
    static let earliest: Int64 = -62_167_219_200_000
    /// 9999-12-31T23:59:59.999Z, the latest one.
    static let latest: Int64 = 253_402_300_799_999

    private static let millisecondsPerDay: Int64 = 86_400_000

    /// The time in UTC with three digits of milliseconds: `2026-07-01T09:05:00.000Z`.
    ///
    /// Times outside the years 0 to 9999 become the nearest one inside.
    public static func string(_ milliseconds: Int64) -> String {
        let time = min(max(milliseconds, earliest), latest)
        var days = time / millisecondsPerDay
        var rest = time % millisecondsPerDay
        if rest < 0 {
            days -= 1
            rest += millisecondsPerDay
        }
        let (year, month, day) = date(days: days)
        var text: [UInt8] = []
        text.reserveCapacity(24)
        append(year, digits: 4, to: &text)
        append(month, digits: 2, after: "-", to: &text)
        append(day, digits: 2, after: "-", to: &text)
        append(rest / 3_600_000, digits: 2, after: "T", to: &text)
        append(rest / 60000 % 60, digits: 2, after: ":", to: &text)
        append(rest / 1000 % 60, digits: 2, after: ":", to: &text)
        append(rest % 1000, digits: 3, after: ".", to: &text)
        text.append(UInt8(ascii: "Z"))
        return String(decoding: text, as: UTF8.self)
    }

    /// The time that `text` names; nil unless it is a complete RFC 3339 date-time.
    ///
    /// Any offset is taken; digits beyond milliseconds are cut off; leap seconds (`:60`) are
    /// refused, as the number could not tell them from the next second.
    public static func parse(_ text: String) -> Int64? {
        var reader = Reader(bytes: Array(text.utf8))
        guard let year = reader.digits(4), reader.skip("-"),
            let month = reader.digits(2), (1...12).contains(month), reader.skip("-"),
            let day = reader.digits(2), day >= 1, day <= dayCount(year: year, month: month),
            reader.skip("Tt"),
            let hour = reader.digits(2), hour < 24, reader.skip(":"),
            let minute = reader.digits(2), minute < 60, reader.skip(":"),
            let second = reader.digits(2), second < 60,
            let fraction = reader.fraction(),
            let offset = reader.offset(), reader.isAtEnd
        else { return nil }
        let minutes = hour * 60 + minute - offset
        let days = days(year: year, month: month, day: day)
        return days * millisecondsPerDay + minutes * 60000 + second * 1000 + fraction
    }

    private static func append(
        _ number: Int64,
        digits: Int,
        after separator: Unicode.Scalar? = nil,
        to text: inout [UInt8]
    ) {
        if let separator { text.append(UInt8(ascii: separator)) }
        var power: Int64 = 1
        for _ in 1..<digits { power *= 10 }
        while power > 0 {
            text.append(UInt8(ascii: "0") + UInt8(number / power % 10))
            power /= 10
        }
    }

    // MARK: Calendar

    private static func dayCount(year: Int64, month: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days since 1970-01-01 of a date of the Gregorian calendar.
    ///
    /// The year begins in March, which puts the leap day at its end; 400 years, an era, have
    /// 146,097 days (H. Hinnant, "chrono-compatible low-level date algorithms").
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// The inverse of ``days(year:month:day:)``.
    private static func date(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let days = days + 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    /// Reads the fixed fields of a date-time.
    private struct Reader {
        let bytes: [UInt8]
        var position = 0

        var isAtEnd: Bool { position == bytes.count }

        mutating func skip(_ accepted: StaticString) -> Bool {
            guard position < bytes.count,
                accepted.description.utf8.contains(bytes[position])
            else { return false }
            position += 1
            return true
        }

        mutating func digit() -> Int64? {
            guard position < bytes.count,
                case UInt8(ascii: "0")...UInt8(ascii: "9") = bytes[position]
            else { return nil }
            defer { position += 1 }
            return Int64(bytes[position] - UInt8(ascii: "0"))
        }

        mutating func digits(_ count: Int) -> Int64? {
            var number: Int64 = 0
            for _ in 0..<count {
                guard let digit = digit() else { return nil }
                number = number * 10 + digit
            }
            return number
        }

        /// The milliseconds of an optional fraction.
        mutating func fraction() -> Int64? {
            guard skip(".") else { return 0 }
            guard let first = digit() else { return nil }
            var milliseconds = first * 100
            var weight: Int64 = 10
            while let digit = digit() {
                milliseconds += digit * weight
                weight /= 10
            }
            return milliseconds
        }

        /// The minutes by which local time is ahead of UTC.
        mutating func offset() -> Int64? {
            if skip("Zz") { return 0 }
            let sign: Int64
            if skip("+") { sign = 1 } else if skip("-") { sign = -1 } else { return nil }
            guard let hours = digits(2), hours < 24, skip(":"),
                let minutes = digits(2), minutes < 60
            else { return nil }
            return sign * (hours * 60 + minutes)
        }
    }
}
