public import FoundationEssentials

extension JSONFields {
    /// An array of objects, each read by `body`.
    public mutating func array<Value>(
        _ name: String,
        count: ClosedRange<Int>,
        of body: (inout JSONFields) -> Value
    ) -> [Value] {
        requiredElements(name, count, of: JSONFields.schema(body)) { fields, element, index in
            fields.nested(element, at: fields.place(name, index), body)
        }
    }

    /// An array of objects, each read by `body`, or nil.
    public mutating func optionalArray<Value>(
        _ name: String,
        count: ClosedRange<Int>,
        of body: (inout JSONFields) -> Value
    ) -> [Value]? {
        optionalElements(name, count, of: JSONFields.schema(body)) { fields, element, index in
            fields.nested(element, at: fields.place(name, index), body)
        }
    }

    /// An array of strings.
    public mutating func strings(
        _ name: String,
        count: ClosedRange<Int>,
        length: ClosedRange<Int> = 1...10_000,
        pattern: TextPattern? = nil
    ) -> [String] {
        requiredElements(name, count, of: JSONShape.text(length, pattern)) {
            fields,
            element,
            index in
            fields.settle(name, index, JSONRead.text(element, length, pattern))
        }
    }

    /// An array of strings, or nil.
    public mutating func optionalStrings(
        _ name: String,
        count: ClosedRange<Int>,
        length: ClosedRange<Int> = 1...10_000,
        pattern: TextPattern? = nil
    ) -> [String]? {
        optionalElements(name, count, of: JSONShape.text(length, pattern)) {
            fields,
            element,
            index in
            fields.settle(name, index, JSONRead.text(element, length, pattern))
        }
    }

    /// An array of integers.
    public mutating func ints(
        _ name: String,
        count: ClosedRange<Int>,
        in range: ClosedRange<Int>
    ) -> [Int] {
        requiredElements(name, count, of: JSONShape.int(range)) { fields, element, index in
            fields.settle(name, index, JSONRead.int(element, range))
        }
    }

    /// An array of integers, or nil.
    public mutating func optionalInts(
        _ name: String,
        count: ClosedRange<Int>,
        in range: ClosedRange<Int>
    ) -> [Int]? {
        optionalElements(name, count, of: JSONShape.int(range)) { fields, element, index in
            fields.settle(name, index, JSONRead.int(element, range))
        }
    }

    /// An array of UUIDs.
    public mutating func uuids(_ name: String, count: ClosedRange<Int>) -> [UUID] {
        requiredElements(name, count, of: JSONShape.uuid) { fields, element, index in
            fields.settle(name, index, JSONRead.uuid(element))
        }
    }

    /// An array of UUIDs, or nil.
    public mutating func optionalUUIDs(_ name: String, count: ClosedRange<Int>) -> [UUID]? {
        optionalElements(name, count, of: JSONShape.uuid) { fields, element, index in
            fields.settle(name, index, JSONRead.uuid(element))
        }
    }

    /// An array of anything, where what is wrong with an element is no fault of the request.
    public mutating func values(_ name: String, count: ClosedRange<Int>) -> [JSON] {
        requiredElements(name, count, of: JSONShape.any) { fields, element, index in
            fields.settle(name, index, JSONRead.any(element))
        }
    }

    // MARK: Any element

    private typealias ReadElement<Value> = (inout JSONFields, JSON, _ index: Int) -> Value?

    private mutating func requiredElements<Value>(
        _ name: String,
        _ count: ClosedRange<Int>,
        of element: @autoclosure () -> JSON,
        _ read: ReadElement<Value>
    ) -> [Value] {
        if notes(name, isRequired: true, { JSONShape.array(count, of: element()) }) { return [] }
        guard let value = take(name) else {
            fault(name, "is required")
            return []
        }
        return elements(name, value, count, read)
    }

    private mutating func optionalElements<Value>(
        _ name: String,
        _ count: ClosedRange<Int>,
        of element: @autoclosure () -> JSON,
        _ read: ReadElement<Value>
    ) -> [Value]? {
        if notes(name, isRequired: false, { JSONShape.array(count, of: element()) }) { return nil }
        return take(name).map { elements(name, $0, count, read) }
    }

    private mutating func elements<Value>(
        _ name: String,
        _ value: JSON,
        _ count: ClosedRange<Int>,
        _ read: ReadElement<Value>
    ) -> [Value] {
        guard case .array(let elements) = value else {
            fault(name, "must be an array")
            return []
        }
        guard count.contains(elements.count) else {
            fault(name, JSONRead.bounds(count, of: "elements"))
            return []
        }
        return elements.enumerated().compactMap { read(&self, $1, $0) }
    }

    private mutating func settle<Value>(
        _ name: String,
        _ index: Int,
        _ reading: JSONReading<Value>
    ) -> Value? {
        switch reading {
        case .value(let value): return value
        case .fault(let detail):
            fault(at: place(name, index), detail)
            return nil
        }
    }

    /// The pointer of an element.
    private func place(_ name: String, _ index: Int) -> String {
        pointer + JSONPointer.component(name) + JSONPointer.component(index)
    }
}
