extension JSONParser {
    /// The digits of a number while they are read.
    private struct Digits {
        /// All digits as one integer, unless they overflow.
        var magnitude: UInt64 = 0
        var hasOverflowed = false
        /// The power of ten by which the magnitude has to be multiplied.
        var scale = 0
        var isInteger = true

        mutating func add(_ byte: UInt8) {
            let (product, first) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, second) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            if first || second { hasOverflowed = true } else { magnitude = sum }
        }
    }

    /// Powers of ten that `Double` holds exactly.
    private static let exactPowers: [Double] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ]

    /// Reads a number; `position` is at its sign or first digit.
    mutating func number(_ bytes: Span<UInt8>) throws(JSONError) -> JSON {
        let start = position
        let isNegative = bytes[position] == UInt8(ascii: "-")
        if isNegative { position += 1 }
        var digits = Digits()
        try integerPart(bytes, &digits)
        try fractionPart(bytes, &digits)
        try exponentPart(bytes, &digits)
        guard position - start <= limits.numberBytesMax else {
            throw JSONError(.numberOutOfRange, at: start)
        }
        if digits.isInteger, let value = integer(digits, isNegative: isNegative) {
            return .int(value)
        }
        guard !digits.isInteger || limits.roundsLargeIntegers else {
            throw JSONError(.numberOutOfRange, at: start)
        }
        return .double(try double(bytes, start..<position, digits, isNegative: isNegative))
    }

    private func integer(_ digits: Digits, isNegative: Bool) -> Int64? {
        if digits.hasOverflowed { return nil }
        guard isNegative else { return Int64(exactly: digits.magnitude) }
        return digits.magnitude <= Int64.min.magnitude
            ? Int64(truncatingIfNeeded: 0 &- digits.magnitude) : nil
    }

    private mutating func integerPart(
        _ bytes: Span<UInt8>,
        _ digits: inout Digits
    ) throws(JSONError) {
        let first = try next(bytes)
        let count = run(bytes, &digits)
        guard count == 1 || count > 1 && first != UInt8(ascii: "0") else {
            throw error(.invalidNumber)
        }
    }

    private mutating func fractionPart(
        _ bytes: Span<UInt8>,
        _ digits: inout Digits
    ) throws(JSONError) {
        guard position < bytes.count, bytes[position] == UInt8(ascii: ".") else { return }
        position += 1
        digits.isInteger = false
        let count = run(bytes, &digits)
        guard count > 0 else { throw error(.invalidNumber) }
        digits.scale = -count
    }

    private mutating func exponentPart(
        _ bytes: Span<UInt8>,
        _ digits: inout Digits
    ) throws(JSONError) {
        guard position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") else { return }
        position += 1
        digits.isInteger = false
        let sign = try next(bytes)
        if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { position += 1 }
        var exponent = Digits()
        guard run(bytes, &exponent) > 0 else { throw error(.invalidNumber) }
        // Beyond this every exponent means infinity or zero, whatever stands before it.
        let value = exponent.hasOverflowed ? 1_000_000 : Int(min(exponent.magnitude, 1_000_000))
        digits.scale += sign == UInt8(ascii: "-") ? -value : value
    }

    /// Reads digits and returns how many there were.
    private mutating func run(_ bytes: Span<UInt8>, _ digits: inout Digits) -> Int {
        let start = position
        while position < bytes.count,
            case UInt8(ascii: "0")...UInt8(ascii: "9") = bytes[position]
        {
            digits.add(bytes[position])
            position += 1
        }
        return position - start
    }

    /// The nearest `Double`; throws when that is infinite, or zero for a number that is not.
    private func double(
        _ bytes: Span<UInt8>,
        _ range: Range<Int>,
        _ digits: Digits,
        isNegative: Bool
    ) throws(JSONError) -> Double {
        // Both operands are exact, so that the one rounding of the operation is the right one
        // (Clinger, "How to read floating point numbers accurately", 1990).
        let powers = JSONParser.exactPowers
        if !digits.hasOverflowed, digits.magnitude <= 1 << 53,
            digits.scale.magnitude < UInt(powers.count)
        {
            let power = powers[abs(digits.scale)]
            let whole = Double(digits.magnitude)
            let value = digits.scale < 0 ? whole / power : whole * power
            return isNegative ? -value : value
        }
        let text = String(decoding: range.map { bytes[$0] }, as: UTF8.self)
        guard let value = Double(text), value.isFinite, !value.isZero || digits.magnitude == 0
        else {
            throw JSONError(.numberOutOfRange, at: range.lowerBound)
        }
        return value
    }
}
