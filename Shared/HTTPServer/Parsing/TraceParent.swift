/// Where a request stands in a distributed trace (W3C Trace Context, level 1).
public struct TraceParent: Sendable, Hashable, CustomStringConvertible {
    /// The first half of the trace's id.
    let traceHigh: UInt64
    /// The second half of the trace's id.
    let traceLow: UInt64
    /// The id of this step.
    let span: UInt64
    /// Flags; bit 0 says that the caller records the trace.
    let flags: UInt8

    init(traceHigh: UInt64, traceLow: UInt64, span: UInt64, flags: UInt8) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.flags = flags
    }

    /// Reads the value of a `traceparent` field; nil when it is not one.
    ///
    /// A version above 00 may carry more after another `-`, which is ignored, as the standard asks.
    public init?(_ value: some RandomAccessCollection<UInt8>) {
        let bytes = Array(value)
        guard bytes.count >= 55, bytes[2] == 0x2d, bytes[35] == 0x2d, bytes[52] == 0x2d,
            let version = TraceParent.hex(bytes[0..<2]), version != 0xff,
            bytes.count == 55 || (version > 0 && bytes[55] == 0x2d),
            let high = TraceParent.hex(bytes[3..<19]), let low = TraceParent.hex(bytes[19..<35]),
            let span = TraceParent.hex(bytes[36..<52]), let flags = TraceParent.hex(bytes[53..<55]),
            high | low != 0, span != 0
        else { return nil }
        self.init(traceHigh: high, traceLow: low, span: span, flags: UInt8(flags))
    }

    /// The same trace, one step further down.
    func child(span: UInt64) -> TraceParent {
        TraceParent(traceHigh: traceHigh, traceLow: traceLow, span: span, flags: flags)
    }

    /// The value of the field, in version 00.
    public var description: String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(55)
        bytes.append(contentsOf: "00-".utf8)
        bytes.appendHex(traceHigh)
        bytes.appendHex(traceLow)
        bytes.append(0x2d)
        bytes.appendHex(span)
        bytes.append(0x2d)
        bytes.appendHex(UInt64(flags), digits: 2)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Whether the caller records the trace.
    public var isRecorded: Bool { flags & 1 == 1 }

    /// The id of this step, in hexadecimal.
    public var spanID: String {
        var bytes: [UInt8] = []
        bytes.appendHex(span)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The id of the whole trace, in hexadecimal.
    public var traceID: String {
        var bytes: [UInt8] = []
        bytes.appendHex(traceHigh)
        bytes.appendHex(traceLow)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Upper-case digits are not allowed here.
    private static func hex(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for digit in digits {
            guard !(0x41...0x5a).contains(digit), let number = digit.hexValue else { return nil }
            value = value &<< 4 | UInt64(number)
        }
        return value
    }
}

extension [UInt8] {
    /// Appends the last `digits` hexadecimal digits of `value`, lower case.
    mutating func appendHex(_ value: UInt64, digits: Int = 16) {
        append(contentsOf: repeatElement(0, count: digits))
        // Through a span: a check for room with each digit would cost more than the digit.
        var all = mutableSpan
        var rest = value
        for index in (all.count - digits..<all.count).reversed() {
            let nibble = UInt8(truncatingIfNeeded: rest) & 15
            all[index] = nibble < 10 ? 0x30 + nibble : 0x57 + nibble
            rest &>>= 4
        }
    }
}

/// Ids that nobody needs to guess-proof: cheap, and distinct across processes.
///
/// The generator is wyrand, started from the system's randomness.
struct IdentifierSource {
    private var state: UInt64
    private let process: UInt64

    init() {
        var system = SystemRandomNumberGenerator()
        state = system.next()
        process = system.next()
    }

    mutating func next() -> UInt64 {
        state &+= 0xa076_1d64_78bd_642f
        let product = state.multipliedFullWidth(by: state ^ 0xe703_7ed1_a0b4_28db)
        return product.high ^ product.low
    }

    mutating func requestID() -> RequestID { .made(process, next()) }

    mutating func trace() -> TraceParent {
        TraceParent(traceHigh: process, traceLow: next() | 1, span: next() | 1, flags: 0)
    }
}

/// The id of a request, kept without a string until somebody asks for one.
enum RequestID: Sendable, Hashable {
    /// Made here: 128 bits.
    case made(UInt64, UInt64)
    /// Given by the caller, checked.
    case given([UInt8])

    /// The longest id that is taken over from a caller.
    static let lengthMax = 128

    /// The caller's id, if it is one: 1 to 128 visible ASCII bytes.
    init?(_ value: ArraySlice<UInt8>) {
        guard (1...RequestID.lengthMax).contains(value.count),
            value.allSatisfy({ (0x21...0x7e).contains($0) })
        else { return nil }
        self = .given(Array(value))
    }

    func append(to bytes: inout [UInt8]) {
        switch self {
        case .made(let high, let low):
            bytes.appendHex(high)
            bytes.appendHex(low)
        case .given(let given):
            bytes.append(contentsOf: given)
        }
    }

    var text: String {
        var bytes: [UInt8] = []
        append(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}
