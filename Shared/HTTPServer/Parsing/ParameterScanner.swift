/// Reads `*( BWS ";" BWS name [ BWS "=" BWS value ] )`, a byte at a time.
///
/// Chunk extensions (RFC 9112 section 7.1.1) and the parameters of a transfer coding
/// (RFC 9112 section 7) share this form.
struct ParameterScanner: Sendable {
    private enum State {
        case start, beforeName, name, afterName, beforeValue, value, quoted, escaped, afterValue
    }

    private var state = State.start
    private var endsBlank = false

    init() {}

    /// Takes the next byte; false when it cannot stand there.
    mutating func take(_ byte: UInt8) -> Bool {
        let wasQuoted = isQuoted
        guard let next = next(byte) else { return false }
        state = next
        endsBlank = byte.isBlank && !wasQuoted
        return true
    }

    /// Whether the list may end here, blanks aside.
    var isComplete: Bool {
        switch state {
        case .start, .name, .afterName, .value, .afterValue: true
        case .beforeName, .beforeValue, .quoted, .escaped: false
        }
    }

    /// Whether the line may end here: blanks stand between parts only.
    var mayEndLine: Bool { isComplete && !endsBlank }

    /// Whether the next byte is inside a quoted string.
    var isQuoted: Bool { state == .quoted || state == .escaped }

    private func next(_ byte: UInt8) -> State? {
        switch state {
        case .start:
            separator(byte, blank: .start)
        case .beforeName:
            byte.isBlank ? .beforeName : token(byte, .name)
        case .name:
            ByteSet.token.contains(byte) ? .name : equals(byte)
        case .afterName:
            equals(byte)
        case .beforeValue:
            byte.isBlank ? .beforeValue : (byte == .quote ? .quoted : token(byte, .value))
        case .value:
            token(byte, .value) ?? separator(byte, blank: .afterValue)
        case .quoted:
            byte == .quote ? .afterValue : (byte == .backslash ? .escaped : quotedText(byte))
        case .escaped:
            byte.isFieldContent ? .quoted : nil
        case .afterValue:
            separator(byte, blank: .afterValue)
        }
    }

    private func token(_ byte: UInt8, _ state: State) -> State? {
        ByteSet.token.contains(byte) ? state : nil
    }

    private func separator(_ byte: UInt8, blank: State) -> State? {
        byte == .semicolon ? .beforeName : (byte.isBlank ? blank : nil)
    }

    private func equals(_ byte: UInt8) -> State? {
        byte == .equals ? .beforeValue : separator(byte, blank: .afterName)
    }

    private func quotedText(_ byte: UInt8) -> State? {
        ByteSet.quotedText.contains(byte) || byte >= 0x80 ? .quoted : nil
    }
}

/// The value of Transfer-Encoding (RFC 9112 section 6.1).
enum TransferCodings {
    /// Whether the value is a list of codings with parameters, without empty elements.
    static func isWellFormed(_ bytes: Span<UInt8>, _ value: Range<Int>) -> Bool {
        var index = value.lowerBound
        while true {
            while index < value.upperBound, bytes[index].isBlank { index &+= 1 }
            let start = index
            while index < value.upperBound, ByteSet.token.contains(bytes[index]) { index &+= 1 }
            guard index > start else { return false }
            var parameters = ParameterScanner()
            while index < value.upperBound, bytes[index] != .comma || parameters.isQuoted {
                guard parameters.take(bytes[index]) else { return false }
                index &+= 1
            }
            guard parameters.isComplete else { return false }
            guard index < value.upperBound else { return true }
            index &+= 1
        }
    }
}
