/// Where a request stands in a distributed trace (W3C Trace Context, level 1).
public struct TraceParent: Sendable, Hashable, CustomStringConvertible {
    /// The first half of the trace's id.
    let traceHigh: UInt64
    /// The second half of the trace's id.
    let traceLow: UInt64
    /// The id of this step.
    let span: UInt64
    /// The id of the step that this one is part of; 0 for the first, and where it is not known.
    let parent: UInt64
    /// Flags; bit 0 says that the trace is recorded.
    var flags: UInt8

    init(
        traceHigh: UInt64,
        traceLow: UInt64,
        span: UInt64,
        parent: UInt64 = 0,
        flags: UInt8 = 0
    ) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.parent = parent
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

    /// Reads the text of a `traceparent`; nil when it is not one.
    public init?(text: String) { self.init(Array(text.utf8)) }

    /// The same trace, one step further down.
    func child(span: UInt64) -> TraceParent {
        TraceParent(
            traceHigh: traceHigh,
            traceLow: traceLow,
            span: span,
            parent: self.span,
            flags: flags
        )
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

    /// Whether the trace is recorded.
    public var isRecorded: Bool {
        get { flags & 1 == 1 }
        set { flags = newValue ? flags | 1 : flags & ~1 }
    }

    /// The id of this step, in hexadecimal.
    public var spanID: String { TraceParent.text(span) }

    /// The id of the step that this one is part of, in hexadecimal; nil for the first of a trace.
    public var parentID: String? { parent == 0 ? nil : TraceParent.text(parent) }

    /// The id of the whole trace, in hexadecimal.
    public var traceID: String { TraceParent.text(traceHigh, traceLow) }

    private static func text(_ parts: UInt64...) -> String {
        var bytes: [UInt8] = []
        for part in parts { bytes.appendHex(part) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Upper-case digits are not allowed here.
    private static func hex(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for digit in digits {
            switch digit {
            case 0x30...0x39: value = value &<< 4 | UInt64(digit - 0x30)
            case 0x61...0x66: value = value &<< 4 | UInt64(digit - 0x57)
            default: return nil
            }
        }
        return value
    }
}

extension [UInt8] {
    /// Appends the last `digits` hexadecimal digits of `value`, lower case.
    package mutating func appendHex(_ value: UInt64, digits: Int = 16) {
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
