internal import HTTPServer

/// The fields in which keys came a moment ago, each with what the key was found to be.
///
/// A place for each of ``count`` hashes of the key's public part: what comes later takes the place of
/// what was there, and costs the other one a longer way. A whole field is compared in a time that says
/// nothing of how far it is alike.
struct RecognizedFields<Known> {
    /// How many fields are remembered at most; a power of two.
    static var count: Int { 1024 }

    private var places: [(field: [UInt8], known: Known)?]

    init() {
        places = Array(repeating: nil, count: RecognizedFields.count)
    }

    /// What came in this very field.
    func known(_ field: ArraySlice<UInt8>) -> Known? {
        guard let entry = places[RecognizedFields.place(of: field.span)],
            constantTimeEquals(entry.field.span, field.span)
        else { return nil }
        return entry.known
    }

    mutating func learn(_ field: ArraySlice<UInt8>, _ known: Known) {
        places[RecognizedFields.place(of: field.span)] = (Array(field), known)
    }

    /// Made of the key's id alone, which stands between two `_`; its secret is not to be seen in the
    /// time that anything takes.
    private static func place(of field: Span<UInt8>) -> Int {
        var hash: UInt32 = 0
        var index = "Bearer sb_".utf8.count
        while index < field.count, field[index] != UInt8(ascii: "_") {
            hash = hash &* 31 &+ UInt32(field[index])
            index += 1
        }
        return Int(hash) & (count - 1)
    }
}
