internal import JSON

/// A packet of the Socket.IO protocol, version 5 (the one of Socket.IO v4), without attachments.
struct SocketIOPacket: Sendable, Equatable {
    enum Kind: UInt8, Sendable {
        case connect = 0x30
        case disconnect = 0x31
        case event = 0x32
        case ack = 0x33
        case connectError = 0x34
    }

    var kind: Kind
    var namespace = "/"
    /// The number by which the other side wants the answer.
    var id: Int?
    var data = JSON.null

    /// What is not a packet that we take.
    struct Malformed: Error, Sendable, Equatable {
        let reason: String
    }

    /// Reads `<kind>[<namespace>,][<id>][<JSON>]`.
    init(_ text: [UInt8]) throws(Malformed) {
        guard let first = text.first, let kind = Kind(rawValue: first) else {
            throw Malformed(reason: "not a kind of packet that is taken here")
        }
        self.kind = kind
        var rest = text.dropFirst()
        if rest.first == UInt8(ascii: "/") {
            guard let comma = rest.firstIndex(of: UInt8(ascii: ",")) else {
                throw Malformed(reason: "a namespace without an end")
            }
            namespace = String(decoding: rest[..<comma], as: UTF8.self)
            rest = rest[(comma + 1)...]
        }
        let digits = rest.prefix { (0x30...0x39).contains($0) }
        if !digits.isEmpty {
            guard digits.count <= 15, let number = Int(String(decoding: digits, as: UTF8.self))
            else { throw Malformed(reason: "a number that is too large") }
            id = number
            rest = rest.dropFirst(digits.count)
        }
        guard !rest.isEmpty else { return }
        do {
            data = try JSON(parsing: Array(rest))
        } catch {
            throw Malformed(reason: "\(error)")
        }
    }

    init(_ kind: Kind, namespace: String = "/", id: Int? = nil, data: JSON = .null) {
        self.kind = kind
        self.namespace = namespace
        self.id = id
        self.data = data
    }

    /// The bytes of a packet whose JSON is there already.
    static func encode(_ kind: Kind, id: Int? = nil, json: [UInt8]) -> [UInt8] {
        var bytes = [kind.rawValue]
        if let id { bytes.append(contentsOf: String(id).utf8) }
        bytes.append(contentsOf: json)
        return bytes
    }

    /// An event with one argument: `2["<name>",<argument>]`.
    static func event(_ name: String, _ argument: [UInt8]) -> [UInt8] {
        var json = Array("[".utf8) + JSON.string(name).serialized() + Array(",".utf8)
        json.append(contentsOf: argument)
        json.append(UInt8(ascii: "]"))
        return encode(.event, json: json)
    }
}
