internal import EventLoop
internal import FoundationEssentials

/// Everything that is wrong with a service's settings, told at once.
public struct SettingsError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One sentence per fault: the setting, what is wrong, what to do.
    public let faults: [String]

    /// An error of `faults`.
    public init(_ faults: [String]) {
        self.faults = faults
    }

    /// The faults, a line each.
    public var description: String {
        "the settings are not complete:\n" + faults.map { "  - \($0)" }.joined(separator: "\n")
    }
}

/// Reads settings from the environment and collects every fault before it complains.
///
/// A `.env` file in the working directory fills in what the environment does not say.
/// (swift-configuration was measured at 28 s of a clean build for what these lines do.)
public struct Settings: Sendable {
    /// The variables, `.env` included.
    public let environment: [String: String]
    private var faults: [String] = []

    /// Reads from `environment` alone.
    public init(environment: [String: String]) {
        self.environment = environment
    }

    /// Reads the process's environment and the `.env` file beside it.
    public static func ofProcess() -> Settings {
        let file = (try? String(contentsOfFile: ".env", encoding: .utf8)) ?? ""
        let process = ProcessInfo.processInfo.environment
        return Settings(environment: parse(dotEnv: file).merging(process) { $1 })
    }

    /// Reads `KEY=value` lines; `#` starts a comment line, quotes around a value are dropped.
    static func parse(dotEnv text: String) -> [String: String] {
        var values: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !line.hasPrefix("#") else { continue }
            var value = parts[1]
            if value.count >= 2, let quote = value.first, quote == "\"" || quote == "'",
                value.last == quote
            {
                value = value.dropFirst().dropLast()
            }
            values[String(parts[0])] = String(value)
        }
        return values
    }

    /// Notes a fault that somebody else found, such as a client's own configuration.
    public mutating func note(_ fault: String) {
        faults.append(fault)
    }

    /// The value of a setting, or `nil` when it is absent or empty.
    public func optional(_ name: String) -> String? {
        environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The value of a setting without which the service cannot run.
    ///
    /// - Parameter hint: what it is, for the fault.
    public mutating func required(_ name: String, _ hint: String) -> String {
        if let value = optional(name) { return value }
        faults.append("\(name) is missing: \(hint)")
        return ""
    }

    /// A whole number within `range`.
    public mutating func integer(
        _ name: String,
        default standard: Int,
        in range: ClosedRange<Int>
    ) -> Int {
        guard let text = optional(name) else { return standard }
        guard let value = Int(text), range.contains(value) else {
            faults.append(
                "\(name) is '\(text)': expected a whole number from \(range.lowerBound) "
                    + "to \(range.upperBound)"
            )
            return standard
        }
        return value
    }

    /// A span given in milliseconds.
    public mutating func milliseconds(
        _ name: String,
        default standard: Int,
        in range: ClosedRange<Int> = 1...86_400_000
    ) -> Duration {
        .milliseconds(integer(name, default: standard, in: range))
    }

    /// `1`, `true`, `yes` or `0`, `false`, `no`.
    public mutating func flag(_ name: String, default standard: Bool) -> Bool {
        switch optional(name)?.lowercased() {
        case nil: return standard
        case "1", "true", "yes": return true
        case "0", "false", "no": return false
        case .some(let text):
            faults.append("\(name) is '\(text)': expected 1 or 0")
            return standard
        }
    }

    /// One of the cases of an enumeration.
    public mutating func choice<Choice: RawRepresentable & CaseIterable>(
        _ name: String,
        default standard: Choice
    ) -> Choice where Choice.RawValue == String {
        guard let text = optional(name) else { return standard }
        if let value = Choice(rawValue: text) { return value }
        let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
        faults.append("\(name) is '\(text)': expected one of \(known)")
        return standard
    }

    /// Complains if anything was wrong.
    ///
    /// - Throws: ``SettingsError`` with every fault.
    public func check() throws(SettingsError) {
        if !faults.isEmpty { throw SettingsError(faults) }
    }
}
