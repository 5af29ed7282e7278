/// What a thread's score needs of a text: hashed terms and the people it mentions.
///
/// Works for any language: letters and digits form words, which are compared in lower case; scripts
/// that put no spaces between words (Han, kana, Thai …) are cut into overlapping pairs.
public struct TextFeatures: Sendable, Hashable {
    /// How many distinct terms of a text count; later ones are left out.
    public static let termLimit = 64
    /// How many distinct mentions count.
    public static let mentionLimit = 16
    /// How many Unicode scalars of a text are looked at.
    public static let scalarLimit = 10_000

    /// FNV-1a hashes of the distinct terms, in the order of their first appearance.
    public let terms: [UInt32]
    /// Names after `@`, in lower case and without it, and the ids of Slack's `<@U123>` form.
    public let mentions: [String]

    /// The features of `text`.
    public init(_ text: String) {
        var scanner = FeatureScanner()
        var count = 0
        for scalar in text.unicodeScalars {
            guard count < TextFeatures.scalarLimit else { break }
            scanner.take(scalar)
            count += 1
        }
        scanner.endWord()
        terms = scanner.terms
        mentions = scanner.mentions
    }

    /// The terms as they are stored: 4 bytes each, big-endian.
    public var packedTerms: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(4 * terms.count)
        for term in terms {
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
    private(set) var mentions: [String] = []
    /// In UTF-8, lower case.
    private var word: [UInt8] = []
    private var isMention = false
    /// The last scalar of a script without spaces: the left half of the next pair.
    private var left: Unicode.Scalar?

    mutating func take(_ scalar: Unicode.Scalar) {
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

    private mutating func append(_ scalar: Unicode.Scalar) {
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
        }
        guard !word.isEmpty else { return }
        if isMention {
            while let last = word.last, ".-_".utf8.contains(last) { word.removeLast() }
            let name = String(decoding: word, as: UTF8.self)
            if mentions.count < TextFeatures.mentionLimit, !mentions.contains(name) {
                mentions.append(name)
            }
        } else {
            add(word)
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
