/// What a thread's score needs of a message: hashed terms, the people it mentions, whether it asks, and
/// who wrote it.
///
/// Works for any language: letters and digits form words, which are compared in lower case and, where
/// they are longer than ``stemLength`` letters, by their beginning, so that "refund" is the word of
/// "refunds" and "refunded". Scripts that put no spaces between words (Han, kana, Thai …) are cut into
/// overlapping pairs.
public struct TextFeatures: Sendable, Hashable {
    /// How many distinct terms of a text count; later ones are left out.
    public static let termLimit = 64
    /// How many distinct mentions count.
    public static let mentionLimit = 16
    /// How many Unicode scalars of a text are looked at.
    public static let scalarLimit = 10_000
    /// How many letters of a word without digits count.
    public static let stemLength = 5
    /// A word without digits of so many letters or fewer is a short one.
    public static let shortLength = 3
    /// Kept among a message's terms when it asks something; the hash of no term that is made here.
    public static let question: UInt32 = 0x3f

    /// FNV-1a hashes of the distinct terms, in the order of their first appearance.
    public let terms: [UInt32]
    /// Those of ``terms`` that are short words, which say little.
    public let shortTerms: Set<UInt32>
    /// Names after `@`, in lower case and without it, and the ids of Slack's `<@U123>` form.
    public let mentions: [String]
    /// Whether there is a question mark in it.
    public let asks: Bool
    /// Who wrote it; empty where only what the text is about counts.
    public let author: String

    /// The features of a message of `author` that says `text`.
    public init(_ text: String, author: String = "") {
        self.author = author
        var scanner = FeatureScanner()
        var count = 0
        for scalar in text.unicodeScalars {
            guard count < TextFeatures.scalarLimit else { break }
            scanner.take(scalar)
            count += 1
        }
        scanner.endWord()
        terms = scanner.terms
        shortTerms = scanner.shortTerms
        mentions = scanner.mentions
        asks = scanner.asks
    }

    /// The terms that a thread keeps of the message: also whether it asks.
    public var keptTerms: [UInt32] { asks ? terms + [TextFeatures.question] : terms }

    /// ``keptTerms`` as they are stored: 4 bytes each, big-endian.
    public var packedTerms: [UInt8] {
        let kept = keptTerms
        var bytes: [UInt8] = []
        bytes.reserveCapacity(4 * kept.count)
        for term in kept {
            bytes.append(UInt8(truncatingIfNeeded: term >> 24))
            bytes.append(UInt8(truncatingIfNeeded: term >> 16))
            bytes.append(UInt8(truncatingIfNeeded: term >> 8))
            bytes.append(UInt8(truncatingIfNeeded: term))
        }
        return bytes
    }

    /// Reads ``packedTerms``; bytes that do not fill a term are dropped.
    public static func unpack(_ bytes: [UInt8]) -> [UInt32] {
        stride(from: 0, to: bytes.count - bytes.count % 4, by: 4).map { start in
            bytes[start..<start + 4].reduce(0) { $0 << 8 | UInt32($1) }
        }
    }

    /// FNV-1a over 32 bits.
    static func hash(_ bytes: some Sequence<UInt8>) -> UInt32 {
        bytes.reduce(0x811c_9dc5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    }
}

/// Cuts text into words, scalar by scalar.
private struct FeatureScanner {
    private(set) var terms: [UInt32] = []
    private(set) var shortTerms: Set<UInt32> = []
    private(set) var mentions: [String] = []
    private(set) var asks = false
    /// In UTF-8, lower case.
    private var word: [UInt8] = []
    /// How many scalars the word has so far.
    private var length = 0
    /// How many bytes of it its stem has, once it is longer than that.
    private var stem: Int?
    private var hasDigit = false
    private var isMention = false
    /// The last scalar of a script without spaces: the left half of the next pair.
    private var left: Unicode.Scalar?

    mutating func take(_ scalar: Unicode.Scalar) {
        if FeatureScanner.questionMarks.contains(scalar) { asks = true }
        if scalar == "@" {
            // An address has letters before its sign; a mention has none.
            let isAddress = !word.isEmpty
            endWord()
            isMention = !isAddress
        } else if FeatureScanner.needsPairs(scalar) {
            endPlainWord()
            pair(scalar)
        } else if FeatureScanner.isWordPart(scalar) {
            endPairs()
            append(scalar)
        } else if isMention, !word.isEmpty, scalar == "-" || scalar == "." || scalar == "_" {
            append(scalar)
        } else {
            endWord()
        }
    }

    private static let questionMarks: Set<Unicode.Scalar> = ["?", "\u{ff1f}", "\u{061f}"]

    private mutating func append(_ scalar: Unicode.Scalar) {
        if length == TextFeatures.stemLength { stem = word.count }
        length += 1
        if scalar.properties.numericType != nil { hasDigit = true }
        guard scalar.isASCII else {
            word.append(contentsOf: scalar.properties.lowercaseMapping.utf8)
            return
        }
        let byte = UInt8(scalar.value)
        word.append((0x41...0x5a).contains(byte) ? byte | 0x20 : byte)
    }

    mutating func endWord() {
        endPlainWord()
        endPairs()
    }

    private mutating func endPlainWord() {
        defer {
            word.removeAll(keepingCapacity: true)
            isMention = false
            length = 0
            stem = nil
            hasDigit = false
        }
        guard !word.isEmpty else { return }
        if isMention {
            while let last = word.last, ".-_".utf8.contains(last) { word.removeLast() }
            let name = String(decoding: word, as: UTF8.self)
            if mentions.count < TextFeatures.mentionLimit, !mentions.contains(name) {
                mentions.append(name)
            }
        } else if hasDigit {
            add(word)
        } else {
            add(word.prefix(stem ?? word.count))
            if length <= TextFeatures.shortLength { shortTerms.insert(TextFeatures.hash(word)) }
        }
    }

    private mutating func pair(_ scalar: Unicode.Scalar) {
        if let left { add("\(left)\(scalar)".utf8) }
        isAlone = left == nil
        left = scalar
    }

    /// Whether the scalar on the left has not been part of a pair yet.
    private var isAlone = false

    private mutating func endPairs() {
        if let left, isAlone { add(String(left).utf8) }
        left = nil
        isAlone = false
    }

    private mutating func add(_ term: some Sequence<UInt8>) {
        guard terms.count < TextFeatures.termLimit else { return }
        let hash = TextFeatures.hash(term)
        if !terms.contains(hash) { terms.append(hash) }
    }

    private static func isWordPart(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        case 0...0x7f: false
        default: isWordPartByProperties(scalar)
        }
    }

    private static func isWordPartByProperties(_ scalar: Unicode.Scalar) -> Bool {
        let properties = scalar.properties
        return properties.isAlphabetic || properties.numericType != nil
            || properties.generalCategory == .nonspacingMark
            || properties.generalCategory == .spacingMark
    }

    private static func needsPairs(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x0e00...0x0eff, 0x1000...0x109f, 0x1780...0x17ff: isWordPart(scalar)
        case 0x3040...0x30ff, 0x3400...0x4dbf, 0x4e00...0x9fff, 0xf900...0xfaff: true
        case 0x20000...0x323af: true
        default: false
        }
    }
}
