internal import Tracing

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

extension IdentifierSource {
    /// The id of a request that came without one.
    mutating func requestID() -> RequestID { .made(process, next()) }
}
