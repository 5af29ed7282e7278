internal import FoundationEssentials
internal import TimeZones

/// When a cron pattern's times are, in a time zone.
///
/// A time that a clock change leaves out comes at the instant of the change. A time that a change
/// repeats comes once, at its first occurrence, unless the pattern means every hour.
public struct CronClock: Sendable {
    /// How far ahead a time is looked for; a leap day is at most eight years away.
    private static let daysMax: Int64 = 366 * 9
    /// No clock is changed by more.
    private static let changeMax: Int64 = 86_400

    private let pattern: CronPattern
    private let zone: TimeZone

    /// The times of `pattern` in `zone`, an IANA name; nil is UTC.
    ///
    /// - Throws: when there is no such zone.
    public init(_ pattern: CronPattern, zone name: String?) throws(CronPattern.Fault) {
        self.pattern = pattern
        guard let zone = TimeZone.iana(name ?? "UTC") else {
            throw CronPattern.Fault(description: "there is no time zone '\(name ?? "")'")
        }
        self.zone = zone
    }

    /// The first time after `instant` (both in ms since 1970); nil when there is none.
    public func next(after instant: Int64) -> Int64? {
        let second = Int64((Double(instant) / 1000).rounded(.down))
        let isNearChange =
            offset(at: second - Self.changeMax) != offset(at: second + Self.changeMax)
        let local = second + offset(at: second)
        // Near a change local times and instants are not in the same order: look around.
        let margin: Int64 = isNearChange ? 3 * 3600 : 0
        var best: Int64?
        var isDone = false
        eachLocal(from: local - margin) { time in
            if let best, time > best + offset(at: best) + margin {
                isDone = true
                return false
            }
            for found in instants(ofLocal: time) where found > second {
                best = min(best ?? found, found)
            }
            if margin == 0 && best != nil {
                isDone = true
                return false
            }
            return true
        }
        return isDone || best != nil ? best.map { $0 * 1000 } : nil
    }

    /// Calls `body` with each of the pattern's local times from `start` until it answers false.
    private func eachLocal(from start: Int64, _ body: (Int64) -> Bool) {
        let first = Int64((Double(start) / 86_400).rounded(.down))
        for number in first..<first + Self.daysMax where pattern.includes(CivilDay(number: number))
        {
            for hour in pattern.hours {
                let hourStart = number * 86_400 + Int64(hour) * 3600
                if hourStart + 3600 <= start { continue }
                for minute in pattern.minutes {
                    for second in pattern.seconds {
                        let time = hourStart + Int64(minute * 60 + second)
                        if time >= start && !body(time) { return }
                    }
                }
            }
        }
    }

    /// The instants, in seconds, at which clocks of the zone show this local time.
    private func instants(ofLocal local: Int64) -> [Int64] {
        let before = offset(at: local - Self.changeMax)
        let after = offset(at: local + Self.changeMax)
        if before == after { return [local - before] }
        let shown = [local - before, local - after].filter { $0 + offset(at: $0) == local }.sorted()
        if let first = shown.first {
            return pattern.isEveryHour ? Array(Set(shown)).sorted() : [first]
        }
        return [change(from: local - Self.changeMax, to: local + Self.changeMax)]
    }

    /// The first instant of the later offset.
    private func change(from start: Int64, to end: Int64) -> Int64 {
        var (low, high) = (start, end)
        let old = offset(at: low)
        while high - low > 1 {
            let middle = (low + high) / 2
            if offset(at: middle) == old { low = middle } else { high = middle }
        }
        return high
    }

    private func offset(at second: Int64) -> Int64 {
        Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(second))))
    }
}
