import Testing

/// One rule of the house that the compiler cannot check.
struct Rule: Sendable, CustomTestStringConvertible {
    let name: String
    let check: @Sendable (SourceFile) throws -> [Finding]

    var testDescription: String { name }
}

extension Rule {
    /// A rule about words in Swift code, comments and strings left out.
    ///
    /// - Parameters:
    ///   - pattern: what is looked for.
    ///   - folders: where it may appear.
    ///   - exempt: where the rule does not hold.
    ///   - reason: what to do in its place.
    static func code(
        _ name: String,
        _ pattern: String,
        onlyIn folders: [String] = [],
        notBelow exempt: [String] = [],
        reason: String
    ) -> Rule {
        Rule(name: name) { file in
            guard file.isSwift, !file.isBelow(folders + exempt) else { return [] }
            return try findings(of: pattern, in: file.code, file.path, reason)
        }
    }

    /// A rule about words in any text file.
    static func text(_ name: String, _ pattern: String, reason: String) -> Rule {
        Rule(name: name) { file in
            // The samples that show the rules at work.
            guard !file.isBelow(["Tests/TidyTests"]) else { return [] }
            return try findings(of: pattern, in: file.text, file.path, reason)
        }
    }

    private static func findings(
        of pattern: String,
        in text: String,
        _ path: String,
        _ reason: String
    ) throws -> [Finding] {
        try Pattern(pattern).matches(in: text).map { match in
            Finding(path: path, line: match.line, message: "'\(match.words)': \(reason)")
        }
    }
}
