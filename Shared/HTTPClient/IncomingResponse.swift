/// The answer to an ``OutgoingRequest``.
public struct IncomingResponse: Sendable {
    /// The status code, redirects included: they are not followed.
    public let status: Int
    /// The body as it arrived.
    public let body: [UInt8]
    /// The time from ``HTTPClient/send(_:)`` to the last byte.
    public let took: Duration
    let head: ResponseHead

    /// The header fields in order of arrival.
    public var fields: [(name: String, value: String)] { head.fields }

    /// The first field of that name, in any case.
    public func field(_ name: String) -> String? { head.field(name) }
}

/// The lines of a response's head, decoded when somebody asks.
struct ResponseHead: Sendable {
    /// Status line excluded; each line with its CRLF.
    private(set) var bytes: [UInt8] = []
    /// Where each line begins.
    private(set) var starts: [Int] = []

    mutating func append(line: UnsafeBufferPointer<UInt8>) {
        starts.append(bytes.count)
        bytes.append(contentsOf: line)
    }

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        starts.removeAll(keepingCapacity: true)
    }

    var fields: [(name: String, value: String)] {
        var fields: [(name: String, value: String)] = []
        for index in starts.indices {
            let line = self.line(index)
            // A folded line continues the value before it (RFC 9112, 5.2).
            if let first = line.first, first == 0x20 || first == 0x09, !fields.isEmpty {
                fields[fields.count - 1].value += " " + ResponseHead.text(line)
            } else if let colon = line.firstIndex(of: 0x3A) {
                let name = String(decoding: line[..<colon], as: UTF8.self)
                fields.append((name, ResponseHead.text(line[(colon + 1)...])))
            }
        }
        return fields
    }

    func field(_ name: String) -> String? {
        let wanted = Array(name.utf8)
        for index in starts.indices {
            let line = self.line(index)
            guard line.count > wanted.count, line[line.startIndex + wanted.count] == 0x3A,
                zip(line, wanted).allSatisfy({ lowercased($0) == lowercased($1) })
            else { continue }
            return ResponseHead.text(line[(line.startIndex + wanted.count + 1)...])
        }
        return nil
    }

    private func line(_ index: Int) -> ArraySlice<UInt8> {
        bytes[starts[index]..<(index + 1 < starts.count ? starts[index + 1] : bytes.count)]
    }

    private static func text(_ slice: ArraySlice<UInt8>) -> String {
        var slice = slice
        while let last = slice.last, isSpace(last) { slice.removeLast() }
        while let first = slice.first, isSpace(first) { slice.removeFirst() }
        return String(decoding: slice, as: UTF8.self)
    }
}

private func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A
}

private func lowercased(_ byte: UInt8) -> UInt8 {
    byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
}
