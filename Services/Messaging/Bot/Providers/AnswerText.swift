/// Makes what a model wrote safe to store and to show.
enum AnswerText {
    /// At most ``AIAnswer/lengthLimit`` code points of it, without control characters but newline and tab, and with
    /// Slack's control sequences (`<!channel>`, `<@U1>`, `<#C1>`, `<https://…|text>`) inert.
    static func inert(_ text: String) -> String {
        var scalars = String.UnicodeScalarView()
        let text = shortened(text)
        var rest = text.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            switch scalar {
            case "\n", "\t": scalars.append(scalar)
            case "\r":
                // A line's end is one newline, whoever wrote it.
                if rest.first != "\n" { scalars.append("\n") }
            case "<" where isControl(rest): scalars.append(contentsOf: "&lt;".unicodeScalars)
            case let other where other.properties.generalCategory == .control: break
            default: scalars.append(scalar)
            }
        }
        return String(scalars)
    }

    /// Whether there is anything in it that people see.
    static func isSeen(_ text: String) -> Bool {
        text.unicodeScalars.contains { scalar in
            !scalar.properties.isWhitespace && !scalar.properties.isDefaultIgnorableCodePoint
        }
    }

    /// Its first characters, as they are seen, and a mark that there were more.
    private static func shortened(_ text: String) -> String {
        guard text.unicodeScalars.count > AIAnswer.lengthLimit else { return text }
        var count = 0
        let kept = text.prefix { character in
            count += character.unicodeScalars.count
            return count < AIAnswer.lengthLimit
        }
        return String(kept) + "…"
    }

    /// Whether a control sequence of Slack follows a `<`.
    private static func isControl(_ rest: Substring.UnicodeScalarView) -> Bool {
        guard let first = rest.first else { return false }
        if ["!", "@", "#"].contains(first) { return true }
        let start = String(Substring(rest).prefix(8)).lowercased()
        return ["http:", "https:", "mailto:", "tel:"].contains { start.hasPrefix($0) }
    }
}
