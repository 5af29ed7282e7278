/// Reads the members of a request's object and collects everything that is wrong with them.
///
/// A member that is `null` counts as absent; a member that nobody asked for is a fault. A getter
/// that finds a fault answers a stand-in, so that reading goes on and one answer names all
/// faults: use nothing of what was read before ``finish()`` has passed.
///
///     var fields = JSONFields(body)
///     let title = fields.string("title", length: 1...200)
///     let limit = fields.optionalInt("limit", in: 1...200) ?? 50
///     let contact = fields.object("contact") { $0.code("external_id") }
///     try fields.finish()
public struct JSONFields: Sendable {
    /// How many faults are kept; of further ones only the number is told.
    public static let faultsMax = 100

    /// Where the object is in the document, as a JSON pointer.
    public let pointer: String

    private let object: JSONObject
    private var known: [String] = []
    private var refusesUnknown = true
    private(set) var faults: [(pointer: String, detail: String)] = []
    private(set) var omittedFaults = 0

    /// Whether this stands in for an object that is not there: then nothing in it is a fault.
    private let isStandIn: Bool
    /// What was asked for so far; nil unless that is all that is wanted.
    private var shape: JSONShape?

    /// Reads `value`, which is at `pointer` in its document.
    public init(_ value: JSON, pointer: String = "") {
        self.pointer = pointer
        if case .object(let object) = value {
            self.object = object
            isStandIn = false
            known.reserveCapacity(object.count)
        } else {
            object = JSONObject()
            isStandIn = true
            faults = [(pointer, "must be an object")]
        }
    }

    private init(standInAt pointer: String, shape: JSONShape? = nil) {
        self.pointer = pointer
        object = JSONObject()
        isStandIn = true
        self.shape = shape
    }

    /// What `body` reads, as JSON Schema: members, lengths, ranges and forms.
    ///
    /// It is found out by letting `body` read nothing, so what is published about a request and
    /// what is checked of it are one. Members that are asked for only where others have some value
    /// are not seen, nor is what ``fault(_:_:)`` says of several.
    public static func schema<Value>(_ body: (inout JSONFields) -> Value) -> JSON {
        var fields = JSONFields(standInAt: "", shape: JSONShape())
        _ = body(&fields)
        return fields.shape?.schema ?? [:]
    }

    /// Notes a member where the shape is wanted, and says whether it is.
    mutating func notes(_ name: String, isRequired: Bool, _ schema: () -> JSON) -> Bool {
        guard shape != nil else { return false }
        shape?.add(name, schema(), isRequired: isRequired)
        return true
    }

    /// Reads `value` with `body` and throws all faults together.
    public static func read<Value>(
        _ value: JSON,
        _ body: (inout JSONFields) -> Value
    ) throws(JSONFieldErrors) -> Value {
        var fields = JSONFields(value)
        let result = body(&fields)
        try fields.finish()
        return result
    }

    /// Names members that nobody asked for, then throws if there was any fault.
    public mutating func finish() throws(JSONFieldErrors) {
        noteUnknownMembers()
        guard !faults.isEmpty else { return }
        if omittedFaults > 0 { faults.append((pointer, "and \(omittedFaults) more faults")) }
        throw JSONFieldErrors(faults: faults)
    }

    /// Lets members pass that nobody asked for: for documents that are not ours.
    public mutating func ignoreUnknownMembers() {
        refusesUnknown = false
    }

    /// Whether the member is there and not `null`.
    public func has(_ name: String) -> Bool {
        !(object[name] ?? .null).isNull
    }

    /// Adds a fault that the caller found, for example between two members.
    public mutating func fault(_ name: String, _ detail: String) {
        if isStandIn { return }
        fault(at: pointer + JSONPointer.component(name), detail)
    }

    /// Adds a fault at a place of the document.
    mutating func fault(at pointer: String, _ detail: String) {
        if faults.count < JSONFields.faultsMax {
            faults.append((pointer, detail))
        } else {
            omittedFaults += 1
        }
    }

    private mutating func noteUnknownMembers() {
        guard refusesUnknown else { return }
        for (name, _) in object.members where !known.contains(name) {
            fault(name, "is not a known field")
        }
        known = object.members.map(\.key)
    }

    // MARK: One member

    /// The member's value, from now on known; nil when absent or `null`.
    mutating func take(_ name: String) -> JSON? {
        known.append(name)
        guard let value = object[name], !value.isNull else { return nil }
        return value
    }

    /// A member that has to be there; `standIn` when there is a fault.
    mutating func required<Value>(
        _ name: String,
        or standIn: Value,
        as schema: @autoclosure () -> JSON,
        _ read: (JSON) -> JSONReading<Value>
    ) -> Value {
        if notes(name, isRequired: true, schema) { return standIn }
        guard let value = take(name) else {
            fault(name, "is required")
            return standIn
        }
        return settle(name, read(value)) ?? standIn
    }

    /// A member that may be absent or `null`; nil then, and when there is a fault.
    mutating func optional<Value>(
        _ name: String,
        as schema: @autoclosure () -> JSON,
        _ read: (JSON) -> JSONReading<Value>
    ) -> Value? {
        if notes(name, isRequired: false, schema) { return nil }
        return take(name).flatMap { settle(name, read($0)) }
    }

    private mutating func settle<Value>(_ name: String, _ reading: JSONReading<Value>) -> Value? {
        switch reading {
        case .value(let value): return value
        case .fault(let detail):
            fault(name, detail)
            return nil
        }
    }

    // MARK: Objects in objects

    /// A member that is an object, read by `body`.
    public mutating func object<Value>(
        _ name: String,
        _ body: (inout JSONFields) -> Value
    ) -> Value {
        if notes(name, isRequired: true, { JSONFields.schema(body) }) { return standIn(name, body) }
        guard let value = take(name) else {
            fault(name, "is required")
            return standIn(name, body)
        }
        return nested(value, at: pointer + JSONPointer.component(name), body)
    }

    /// A member that is an object, read by `body`, or absent.
    public mutating func optionalObject<Value>(
        _ name: String,
        _ body: (inout JSONFields) -> Value
    ) -> Value? {
        if notes(name, isRequired: false, { JSONFields.schema(body) }) { return nil }
        return take(name).map { nested($0, at: pointer + JSONPointer.component(name), body) }
    }

    /// Reads an object somewhere below and takes over its faults.
    mutating func nested<Value>(
        _ value: JSON,
        at place: String,
        _ body: (inout JSONFields) -> Value
    ) -> Value {
        var child = JSONFields(value, pointer: place)
        let result = body(&child)
        child.noteUnknownMembers()
        for (place, detail) in child.faults { fault(at: place, detail) }
        omittedFaults += child.omittedFaults
        return result
    }

    private func standIn<Value>(_ name: String, _ body: (inout JSONFields) -> Value) -> Value {
        var child = JSONFields(standInAt: pointer + JSONPointer.component(name))
        return body(&child)
    }
}

/// What reading a value gave.
enum JSONReading<Value> {
    case value(Value)
    /// What is wrong, as the end of a sentence that begins with the member's name.
    case fault(String)
}

/// Everything that is wrong with a request's object.
public struct JSONFieldErrors: Error, Sendable, CustomStringConvertible {
    /// Place (a JSON pointer) and what is wrong there, in the order in which members were read.
    public let faults: [(pointer: String, detail: String)]

    /// The faults of a document; not empty.
    public init(faults: [(pointer: String, detail: String)]) {
        self.faults = faults
    }

    /// All faults in one line.
    public var description: String {
        faults.map { "\($0.pointer) \($0.detail)" }.joined(separator: "; ")
    }
}
