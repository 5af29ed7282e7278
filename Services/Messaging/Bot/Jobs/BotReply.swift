/// What a bot's answer says, and whether it asks for a person.
struct BotReply: Sendable, Hashable {
    let text: String
    let asksForPerson: Bool

    /// Takes the marker of a handover out of an answer.
    init(_ answer: String, marker: String) {
        let parts = answer.split(separator: marker, omittingEmptySubsequences: false)
        asksForPerson = parts.count > 1
        guard asksForPerson else {
            text = answer
            return
        }
        text = BotReply.trimmed(parts.joined())
    }

    private static func trimmed(_ text: String) -> String {
        let start = text.drop(while: \.isWhitespace)
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...last])
    }
}
