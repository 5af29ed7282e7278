internal import JSON

/// Quiet hours as they are put: every day alike, or by the day of the week, with dates that differ.
enum QuietHours {
    private enum Weekday: String, CaseIterable { case mon, tue, wed, thu, fri, sat, sun }

    /// `{tz, from, to}`, `{tz, windows}`, either with `exceptions`; `{}` for none.
    static func document(_ fields: inout JSONFields) -> JSON {
        let zone = fields.optionalString("tz", length: 1...64, pattern: .visible)
        let from = fields.optionalString("from", length: 5...5, pattern: .clock)
        let to = fields.optionalString("to", length: 5...5, pattern: .clock)
        let windows = fields.optionalArray("windows", count: 0...100) { window in
            let day = window.choice("day", of: Weekday.self)
            return QuietHours.window(&window, ["day": .string(day.rawValue)])
        }
        let exceptions = fields.optionalArray("exceptions", count: 0...1000, of: exception)
        if zone == nil, from != nil || to != nil || windows != nil || exceptions != nil {
            fields.fault("tz", "is required: the times are local ones")
        } else if (from == nil) != (to == nil) {
            fields.fault(from == nil ? "from" : "to", "is required: from and to go together")
        } else if zone != nil, (from == nil) == (windows == nil) {
            fields.fault("windows", "are needed unless there are from and to, and not beside them")
        }
        let given: [(String, JSON)] = [
            ("tz", JSON(zone)), ("from", JSON(from)), ("to", JSON(to)),
            ("windows", windows.map { .array($0) } ?? .null),
            ("exceptions", exceptions.map { .array($0) } ?? .null),
        ]
        return .object(JSONObject(given.filter { !$0.1.isNull }))
    }

    private static func window(_ fields: inout JSONFields, _ start: JSONObject) -> JSON {
        var window = start
        for name in ["from", "to"] {
            window[name] = .string(fields.string(name, length: 5...5, pattern: .clock))
        }
        return .object(window)
    }

    private static func exception(_ fields: inout JSONFields) -> JSON {
        let date = fields.string("date", length: 10...10)
        if RFC3339.parse(date + "T00:00:00Z") == nil {
            fields.fault("date", "is not a date, such as 2026-12-24")
        }
        return [
            "date": .string(date),
            "windows": .array(fields.array("windows", count: 0...20) { window(&$0, [:]) }),
        ]
    }
}
