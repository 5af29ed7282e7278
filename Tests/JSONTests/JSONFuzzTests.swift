import Foundation
import JSON
import Testing

@Suite("JSONFuzzTests")
struct JSONFuzzTests {
    @Test("what is written is read back equal", arguments: 0..<4)
    func roundTrip(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<300 {
            let value = RandomJSON.value(&random)
            #expect(try JSON(parsing: value.serialized()) == value, "seed \(seed)")
        }
    }

    @Test("Foundation reads the same from what is written", arguments: 10..<14)
    func foundationAgrees(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<150 {
            let bytes = RandomJSON.value(&random).serialized()
            let ours = try JSON(parsing: bytes)
            let theirs = try JSONSerialization.jsonObject(
                with: Data(bytes),
                options: .fragmentsAllowed
            )
            #expect(Self.isSame(ours, theirs), "seed \(seed): \(ours.text)")
        }
    }

    @Test("we read what Foundation writes", arguments: 20..<24)
    func readsFoundation(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<100 {
            let value = RandomJSON.value(&random)
            let theirs = try JSONSerialization.jsonObject(
                with: Data(value.serialized()),
                options: .fragmentsAllowed
            )
            let written = try JSONSerialization.data(
                withJSONObject: theirs,
                options: [.fragmentsAllowed, .prettyPrinted]
            )
            // It writes large doubles as integers, which are refused in requests.
            let ours = try JSON(parsing: Array(written), limits: .foreign)
            #expect(Self.isSame(ours, theirs), "seed \(seed)")
        }
    }

    @Test("numbers are rounded as strtod rounds them", arguments: 50..<54)
    func rounding(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<2000 {
            let text = RandomJSON.decimal(&random)
            guard let expected = Double(text), expected.isFinite, expected != 0 else { continue }
            let value = try JSON(parsing: Array(text.utf8))
            #expect(value == .double(expected), "seed \(seed): \(text)")
        }
    }

    @Test("random bytes never trap, and hardly ever are a document", arguments: 30..<34)
    func randomBytes(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let alphabet = Array(#"{}[]",:\ue0123456789+-.tfn "#.utf8) + [0x00, 0x80, 0xC3, 0xED, 0xF4]
        for _ in 0..<2000 {
            let count = Int.random(in: 0...24, using: &random)
            let bytes = (0..<count).map { _ in
                Bool.random(using: &random)
                    ? alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
                    : UInt8.random(in: 0...255, using: &random)
            }
            check(bytes, seed)
        }
    }

    @Test(
        "mutations of documents are read as Foundation reads them, or refused",
        arguments: 40..<44
    )
    func mutations(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<400 {
            var bytes = RandomJSON.value(&random).serialized()
            for _ in 0..<Int.random(in: 1...3, using: &random) { mutate(&bytes, &random) }
            check(bytes, seed)
        }
    }

    /// Whatever we accept Foundation accepts too, and understands alike; what we refuse is refused
    /// at a place inside the document.
    private func check(_ bytes: [UInt8], _ seed: UInt64) {
        do throws(JSONError) {
            let ours = try JSON(parsing: bytes)
            let theirs = try? JSONSerialization.jsonObject(
                with: Data(bytes),
                options: .fragmentsAllowed
            )
            #expect(theirs.map { Self.isSame(ours, $0) } == true, "seed \(seed): \(bytes)")
            #expect((try? JSON(parsing: ours.serialized())) == ours, "seed \(seed): \(bytes)")
        } catch {
            #expect((0...bytes.count).contains(error.offset), "seed \(seed): \(bytes)")
        }
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
        guard let position = bytes.indices.randomElement(using: &random) else { return }
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes.remove(at: position)
        case 2: bytes.insert(bytes[Int.random(in: bytes.indices, using: &random)], at: position)
        case 3: bytes.removeLast(bytes.count - position)
        default: bytes.append(contentsOf: bytes[position...])
        }
    }

    /// Whether Foundation's value means the same as ours.
    private static func isSame(_ ours: JSON, _ theirs: Any) -> Bool {
        switch ours {
        case .null: return theirs is NSNull
        case .string(let text): return theirs as? String == text
        case .bool(let value): return (theirs as? NSNumber)?.boolValue == value
        case .int(let value): return (theirs as? NSNumber)?.int64Value == value
        case .double(let value):
            // Foundation takes numbers of many digits through Decimal, which rounds once more.
            guard let theirs = (theirs as? NSNumber)?.doubleValue else { return false }
            return abs(theirs - value) <= max(abs(value) * 1e-13, .leastNormalMagnitude)
        case .array(let elements):
            guard let theirs = theirs as? [Any], theirs.count == elements.count else {
                return false
            }
            return zip(elements, theirs).allSatisfy { isSame($0, $1) }
        case .object(let object):
            guard let theirs = theirs as? [String: Any], theirs.count == object.count else {
                return false
            }
            return object.members.allSatisfy { name, value in
                theirs[name].map { isSame(value, $0) } ?? false
            }
        }
    }
}

/// Random values of every kind.
enum RandomJSON {
    static func value(_ random: inout SeededRandom, depth: Int = 0) -> JSON {
        switch Int.random(in: 0..<(depth < 4 ? 9 : 6), using: &random) {
        case 0: return .null
        case 1: return .bool(.random(using: &random))
        case 2: return .int(integer(&random))
        case 3: return .double(double(&random))
        case 4, 5: return .string(string(&random))
        case 6:
            let count = Int.random(in: 0...6, using: &random)
            return .array((0..<count).map { _ in value(&random, depth: depth + 1) })
        default:
            // Now and then beyond the size from which an object keeps an index.
            let count = Int.random(in: 0...(depth == 0 ? 24 : 6), using: &random)
            return .object(
                JSONObject(
                    (0..<count).map {
                        ("\(string(&random))\($0)", value(&random, depth: depth + 1))
                    }
                )
            )
        }
    }

    /// A number with a fraction, of few or many digits, often near the edges of the fast path.
    static func decimal(_ random: inout SeededRandom) -> String {
        let digits = (0..<Int.random(in: 1...24, using: &random)).map { _ in
            String(Int.random(in: 0...9, using: &random))
        }
        let sign = Bool.random(using: &random) ? "-" : ""
        let exponent = Int.random(in: -40...40, using: &random)
        return "\(sign)\(Int.random(in: 0...9, using: &random)).\(digits.joined())e\(exponent)"
    }

    private static func integer(_ random: inout SeededRandom) -> Int64 {
        Int64.random(in: .min ... .max, using: &random)
            >> Int64.random(in: 0...63, using: &random)
    }

    private static func double(_ random: inout SeededRandom) -> Double {
        if Bool.random(using: &random) {
            return Double(Int.random(in: -1_000_000...1_000_000, using: &random)) / 1000
        }
        let any = Double(bitPattern: random.next())
        return any.isFinite ? any : 0
    }

    private static func string(_ random: inout SeededRandom) -> String {
        var text = ""
        for _ in 0..<Int.random(in: 0...20, using: &random) {
            switch Int.random(in: 0..<8, using: &random) {
            case 0:
                text.unicodeScalars.append(Unicode.Scalar(UInt8.random(in: 0...31, using: &random)))
            case 1: text += ["\"", "\\", "/", "\u{7F}"].randomElement(using: &random) ?? ""
            case 2:
                text +=
                    ["é", "€", "😀", "\u{10FFFF}", "\u{2028}"].randomElement(using: &random) ?? ""
            default:
                text.unicodeScalars.append(
                    Unicode.Scalar(UInt8.random(in: 32...126, using: &random))
                )
            }
        }
        return text
    }
}
