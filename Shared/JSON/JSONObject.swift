/// The members of a JSON object, in the order in which they were written.
///
/// Names are compared as Swift strings, that is by canonical equivalence: two spellings of `é` are
/// one name. Equality of objects ignores the order of members, as RFC 8259 does.
public struct JSONObject: Sendable {
    /// Name and value of each member; no name occurs twice.
    public private(set) var members: [(key: String, value: JSON)] = []

    /// Positions by name, kept once linear search would be slow (and a gift to an attacker).
    private var positions: [String: Int] = [:]

    /// Up to this many members are searched one after the other, without an index.
    static let linearMembersMax = 16

    /// An object without members.
    public init() {}

    /// An object of `members`; of two members with one name the later wins.
    public init(_ members: some Sequence<(String, JSON)>) {
        for (name, value) in members { self[name] = value }
    }

    /// The number of members.
    public var count: Int { members.count }

    /// Whether there are no members.
    public var isEmpty: Bool { members.isEmpty }

    /// The value of the member named `name`; assigning nil removes the member.
    public subscript(name: String) -> JSON? {
        get { position(of: name).map { members[$0].value } }
        set {
            switch (position(of: name), newValue) {
            case (let position?, let value?): members[position].value = value
            case (let position?, nil): remove(at: position)
            case (nil, let value?): add(name, value)
            case (nil, nil): break
            }
        }
    }

    /// Adds a member unless its name is taken; returns whether it was added.
    mutating func insert(_ name: String, _ value: JSON) -> Bool {
        guard position(of: name) == nil else { return false }
        add(name, value)
        return true
    }

    private func position(of name: String) -> Int? {
        if members.count > JSONObject.linearMembersMax { return positions[name] }
        return members.firstIndex { $0.key == name }
    }

    private mutating func add(_ name: String, _ value: JSON) {
        members.append((name, value))
        if members.count == JSONObject.linearMembersMax + 1 {
            rebuildPositions()
        } else if members.count > JSONObject.linearMembersMax {
            positions[name] = members.count - 1
        }
    }

    private mutating func remove(at position: Int) {
        members.remove(at: position)
        if members.count > JSONObject.linearMembersMax {
            rebuildPositions()
        } else {
            positions = [:]
        }
    }

    private mutating func rebuildPositions() {
        positions.removeAll(keepingCapacity: true)
        for (position, member) in members.enumerated() { positions[member.key] = position }
    }
}

extension JSONObject: Hashable {
    /// Whether both have the same members, in whatever order.
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.members.allSatisfy { right[$0.key] == $0.value }
    }

    /// Feeds the members to `hasher`, so that their order does not matter.
    public func hash(into hasher: inout Hasher) {
        var combined = 0
        for (name, value) in members {
            var member = Hasher()
            member.combine(name)
            member.combine(value)
            combined ^= member.finalize()
        }
        hasher.combine(count)
        hasher.combine(combined)
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    /// An object; of two members with one name the later wins.
    public init(dictionaryLiteral members: (String, JSON)...) {
        self.init(members)
    }
}
