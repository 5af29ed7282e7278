/// The date format of HTTP (RFC 9110 section 5.6.7).
enum HTTPDate {
    private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// The date in the preferred form, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
    static func string(secondsSince1970 seconds: Int64) -> String {
        let day = seconds.flooredQuotient(86_400)
        let second = Int(seconds - day * 86_400)
        let weekday = Int(day - day.flooredQuotient(7) * 7)
        let (year, month, dayOfMonth) = civil(daysSince1970: day)
        let time = [second / 3_600, second / 60 % 60, second % 60].map(padded)
        return "\(days[weekday]), \(padded(dayOfMonth)) \(months[month - 1]) \(year) "
            + "\(time[0]):\(time[1]):\(time[2]) GMT"
    }

    private static func padded(_ number: Int) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }

    /// The date of the Gregorian calendar, counted in eras of 400 years from 1 March 0000, so
    /// that the leap day is the last of its year.
    private static func civil(daysSince1970: Int64) -> (year: Int64, month: Int, day: Int) {
        let shifted = daysSince1970 + 719_468
        let era = shifted.flooredQuotient(146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let day = Int(dayOfYear - (153 * marchMonth + 2) / 5) + 1
        let month = Int(marchMonth < 10 ? marchMonth + 3 : marchMonth - 9)
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}

extension Int64 {
    fileprivate func flooredQuotient(_ divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}
