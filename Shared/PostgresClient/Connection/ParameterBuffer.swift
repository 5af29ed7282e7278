internal import struct FoundationEssentials.UUID

/// The text forms of a statement's parameters, each ended by a NUL, in one piece of memory that is
/// used again for the next statement.
struct ParameterBuffer {
    /// What one statement's parameters may come to; PostgreSQL's own limit of a field is 1 GiB.
    static let sizeMax = 16 << 20
    /// The protocol counts parameters in 16 bits.
    static let countMax = 65_535
    /// A buffer that grew beyond this is given back after use.
    static let keptSize = 64 << 10

    private(set) var bytes: [UInt8] = []
    /// Where each parameter begins; negative for NULL.
    private(set) var offsets: [Int] = []

    mutating func encode(_ parameters: [PostgresValue]) throws(PostgresError) {
        if bytes.capacity > ParameterBuffer.keptSize {
            bytes = []
        } else {
            bytes.removeAll(keepingCapacity: true)
        }
        offsets.removeAll(keepingCapacity: true)
        guard parameters.count <= ParameterBuffer.countMax else {
            throw ParameterBuffer.fault("\(parameters.count) parameters are too many")
        }
        for (index, parameter) in parameters.enumerated() {
            if parameter == .null {
                offsets.append(-1)
                continue
            }
            offsets.append(bytes.count)
            do {
                try append(parameter)
            } catch {
                throw ParameterBuffer.fault("parameter $\(index + 1) \(error.message)")
            }
            bytes.append(0)
            guard bytes.count <= ParameterBuffer.sizeMax else {
                throw ParameterBuffer.fault("the parameters come to more than 16 MiB")
            }
        }
    }

    private mutating func append(_ value: PostgresValue) throws(PostgresError) {
        switch value {
        case .null: break
        case .string(let text), .json(let text): try append(text: text)
        case .utf8(let text): try append(utf8: text)
        case .int(let number): append(number)
        case .bool(let truth): bytes.append(UInt8(ascii: truth ? "t" : "f"))
        case .double(let number): bytes.append(contentsOf: number.description.utf8)
        case .uuid(let id): append(id)
        case .bytes(let data): append(hex: data)
        case .time(let milliseconds): try append(time: milliseconds)
        case .strings(let texts):
            try appendList(texts) { (buffer, text) throws(PostgresError) in
                try buffer.append(quoted: text.utf8)
            }
        case .ints(let numbers):
            try appendList(numbers) { (buffer, number) throws(PostgresError) in
                buffer.append(number)
            }
        case .uuids(let ids):
            try appendList(ids) { (buffer, id) throws(PostgresError) in buffer.append(id) }
        case .array(let elements):
            try appendList(elements) { (buffer, element) throws(PostgresError) in
                try buffer.append(element: element)
            }
        }
    }

    private mutating func append(text: String) throws(PostgresError) {
        let start = bytes.count
        bytes.append(contentsOf: text.utf8)
        try refuseNUL(from: start)
    }

    private mutating func append(utf8 text: [UInt8]) throws(PostgresError) {
        let start = bytes.count
        bytes.append(contentsOf: text)
        try refuseNUL(from: start)
    }

    /// A C string ends at its first NUL: what follows would be lost silently.
    private func refuseNUL(from start: Int) throws(PostgresError) {
        guard !bytes[start...].contains(0) else {
            throw ParameterBuffer.fault("holds a NUL character, which PostgreSQL cannot store")
        }
    }

    private mutating func append(_ number: Int64) {
        bytes.append(contentsOf: String(number).utf8)
    }

    private mutating func append(_ id: UUID) {
        let u = id.uuid
        let all = [
            u.0, u.1, u.2, u.3, u.4, u.5, u.6, u.7, u.8, u.9, u.10, u.11, u.12, u.13, u.14, u.15,
        ]
        for (index, byte) in all.enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 {
                bytes.append(UInt8(ascii: "-"))
            }
            append(hexDigitsOf: byte)
        }
    }

    private mutating func append(hexDigitsOf byte: UInt8) {
        bytes.append(Hex.digit(byte >> 4))
        bytes.append(Hex.digit(byte & 15))
    }

    private mutating func append(hex data: [UInt8]) {
        bytes.reserveCapacity(bytes.count + 2 * data.count + 3)
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(UInt8(ascii: "x"))
        for byte in data { append(hexDigitsOf: byte) }
    }

    private mutating func append(time milliseconds: Int64) throws(PostgresError) {
        guard let text = PostgresTime.text(milliseconds: milliseconds) else {
            throw ParameterBuffer.fault("is a time outside the years 1 to 9999")
        }
        bytes.append(contentsOf: text.utf8)
    }

    // MARK: Arrays (the manual, 8.15.6)

    private mutating func appendList<Element>(
        _ elements: [Element],
        _ appendOne: (inout ParameterBuffer, Element) throws(PostgresError) -> Void
    ) throws(PostgresError) {
        bytes.append(UInt8(ascii: "{"))
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            try appendOne(&self, element)
        }
        bytes.append(UInt8(ascii: "}"))
    }

    private mutating func append(element: PostgresValue) throws(PostgresError) {
        switch element {
        case .null: bytes.append(contentsOf: "NULL".utf8)
        case .int(let number): append(number)
        case .bool, .double, .uuid: try append(element)
        case .string(let text), .json(let text): try append(quoted: text.utf8)
        case .utf8(let text): try append(quoted: text)
        case .bytes, .time:
            var inner = ParameterBuffer()
            try inner.append(element)
            try append(quoted: inner.bytes)
        case .strings, .ints, .uuids, .array:
            throw ParameterBuffer.fault("is an array inside an array")
        }
    }

    private mutating func append(quoted text: some Sequence<UInt8>) throws(PostgresError) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text {
            if byte == 0 {
                throw ParameterBuffer.fault("holds a NUL character, which PostgreSQL cannot store")
            }
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                bytes.append(UInt8(ascii: "\\"))
            }
            bytes.append(byte)
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func fault(_ message: String) -> PostgresError {
        PostgresError(.encoding, "parameters", message)
    }
}
