/// The fields of a message, in order; names are compared without case.
///
/// Names and values stay bytes in one array, and a `String` is made only for what is asked for:
/// a request carries about ten fields and a handler reads two or three of them.
public struct HTTPFields: Sendable {
    /// Where one field lies in ``bytes``.
    struct Entry: Sendable {
        var nameStart: UInt32
        var nameEnd: UInt32
        var valueStart: UInt32
        var valueEnd: UInt32

        @inline(__always)
        var name: Range<Int> { Int(nameStart)..<Int(nameEnd) }
        @inline(__always)
        var value: Range<Int> { Int(valueStart)..<Int(valueEnd) }
    }

    /// The bytes that the entries point into.
    private(set) var bytes: [UInt8]
    private(set) var entries: [Entry]
    /// Whether `bytes` are exactly the field lines, ready to be sent.
    private(set) var isWireForm: Bool

    /// No fields.
    public init() {
        bytes = []
        entries = []
        isWireForm = true
    }

    /// The fields of a head that was read; `bytes` may hold more than the fields.
    init(head bytes: [UInt8], entries: [Entry]) {
        self.bytes = bytes
        self.entries = entries
        isWireForm = false
    }

    /// Adds a field after the others.
    ///
    /// Control characters in `value` become spaces, so no value can end its line and start
    /// another one. `name` must be a token; anything else is a fault of the program.
    public mutating func append(_ name: String, _ value: String) {
        precondition(
            !name.isEmpty && name.utf8.allSatisfy(ByteSet.token.contains),
            "a field name must be a token"
        )
        if !isWireForm { rebuild { _ in true } }
        let nameStart = UInt32(bytes.count)
        bytes.append(contentsOf: name.utf8)
        let nameEnd = UInt32(bytes.count)
        bytes.append(.colon)
        bytes.append(.space)
        let valueStart = UInt32(bytes.count)
        for byte in value.utf8 { bytes.append(byte.isFieldContent ? byte : .space) }
        entries.append(
            Entry(
                nameStart: nameStart,
                nameEnd: nameEnd,
                valueStart: valueStart,
                valueEnd: UInt32(bytes.count)
            )
        )
        bytes.append(.carriageReturn)
        bytes.append(.lineFeed)
    }

    /// Removes every field of this name.
    public mutating func remove(_ name: String) {
        guard position(of: name) != nil else { return }
        let bytes = self.bytes
        rebuild { entry in !Self.matches(bytes, entry.name, name) }
    }

    /// Copies the kept entries into fresh field lines.
    private mutating func rebuild(keeping keep: (Entry) -> Bool) {
        let (oldBytes, oldEntries) = (bytes, entries)
        self = HTTPFields()
        for entry in oldEntries where keep(entry) {
            var moved = entry
            moved.nameStart = UInt32(bytes.count)
            bytes.append(contentsOf: oldBytes[entry.name])
            moved.nameEnd = UInt32(bytes.count)
            bytes.append(.colon)
            bytes.append(.space)
            moved.valueStart = UInt32(bytes.count)
            bytes.append(contentsOf: oldBytes[entry.value])
            moved.valueEnd = UInt32(bytes.count)
            bytes.append(.carriageReturn)
            bytes.append(.lineFeed)
            entries.append(moved)
        }
    }
}

// MARK: - Reading

extension HTTPFields {
    /// The value of the first field of this name; setting replaces all fields of the name.
    ///
    /// Bytes that are not UTF-8 are replaced with U+FFFD.
    public subscript(name: String) -> String? {
        get { valueBytes(of: name).map { String(decoding: $0, as: UTF8.self) } }
        set {
            remove(name)
            if let newValue { append(name, newValue) }
        }
    }

    /// The values of all fields of this name, in order.
    public func values(of name: String) -> [String] {
        entries.compactMap { entry in
            Self.matches(bytes, entry.name, name)
                ? String(decoding: bytes[entry.value], as: UTF8.self) : nil
        }
    }

    /// The bytes of the first field of this name, as they were sent.
    public func valueBytes(of name: String) -> ArraySlice<UInt8>? {
        position(of: name).map { bytes[entries[$0].value] }
    }

    /// The bytes of the value of the field at `index`, as they were sent.
    public func valueBytes(at index: Int) -> ArraySlice<UInt8> {
        bytes[entries[index].value]
    }

    /// Whether there is a field of this name.
    public func contains(_ name: String) -> Bool {
        position(of: name) != nil
    }

    private func position(of name: String) -> Int? {
        let wanted = name.utf8.span
        let span = bytes.span
        for index in entries.indices
        where Self.matches(span, entries[index].name, wanted) {
            return index
        }
        return nil
    }

    static func matches(_ bytes: [UInt8], _ range: Range<Int>, _ name: String) -> Bool {
        matches(bytes.span, range, name.utf8.span)
    }

    /// Whether `bytes[range]` spells `name`, but for the case of letters.
    @inline(__always)
    static func matches(_ bytes: Span<UInt8>, _ range: Range<Int>, _ name: Span<UInt8>) -> Bool {
        guard range.count == name.count else { return false }
        var index = range.lowerBound
        for position in name.indices {
            guard bytes[index].lowercased == name[position].lowercased else { return false }
            index &+= 1
        }
        return true
    }
}

extension HTTPFields: RandomAccessCollection {
    /// The index of the first field: 0.
    public var startIndex: Int { 0 }
    /// The number of fields.
    public var endIndex: Int { entries.count }

    /// The field at `index`, in the order of the message.
    public subscript(index: Int) -> (name: String, value: String) {
        let entry = entries[index]
        return (
            name: String(decoding: bytes[entry.name], as: UTF8.self),
            value: String(decoding: bytes[entry.value], as: UTF8.self)
        )
    }
}

extension HTTPFields: ExpressibleByDictionaryLiteral {
    /// The listed fields, in order; a name may repeat.
    public init(dictionaryLiteral elements: (String, String)...) {
        self.init()
        for (name, value) in elements { append(name, value) }
    }
}

extension HTTPFields: Equatable {
    /// Whether both hold the same fields in the same order, names without regard to case.
    public static func == (left: HTTPFields, right: HTTPFields) -> Bool {
        left.entries.count == right.entries.count
            && zip(left.entries, right.entries).allSatisfy { mine, other in
                left.bytes[mine.value] == right.bytes[other.value]
                    && left.bytes[mine.name].elementsEqual(right.bytes[other.name]) {
                        $0.lowercased == $1.lowercased
                    }
            }
    }
}
