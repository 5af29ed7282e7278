/// Where in a cluster a command goes.
enum CommandRoute: Hashable {
    /// To the node of this slot.
    case slot(Int)
    /// To the node of this slot, or any other when that is away.
    case near(Int)
    /// To any one node.
    case anywhere
    /// To every node that has slots.
    case everywhere(Joining)
    /// Key by key, as they are in several slots.
    case apart(Joining)
    /// It makes no sense on a cluster, for this reason.
    case refused(String)

    /// What becomes of several answers.
    enum Joining: Hashable {
        /// The first, as all are alike.
        case first
        /// The sum of numbers.
        case sum
        /// A list of what each key's answer has.
        case list
    }

    private enum Shape {
        /// The first key stands here.
        case key(Int)
        /// The number of keys stands here, and they follow it.
        case counted(Int)
        /// The first key follows the word `STREAMS`.
        case streams
        case keys(Joining)
        case channel
        case keyless
        case all(Joining)
        case foreign(String)
    }

    private static let shapes: [String: Shape] = {
        var shapes: [String: Shape] = [
            "XREAD": .streams, "XREADGROUP": .streams, "MGET": .keys(.list), "PUBLISH": .channel,
            "FLUSHALL": .all(.first), "FLUSHDB": .all(.first), "DBSIZE": .all(.sum),
            "SCAN": .foreign("a scan goes node by node: see RedisClient.scan"),
            "KEYS": .foreign("a search goes node by node: see RedisClient.scan"),
        ]
        for name in ["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "BLMPOP", "BZMPOP"] {
            shapes[name] = .counted(2)
        }
        for name in ["ZUNION", "ZINTER", "ZDIFF", "SINTERCARD", "ZINTERCARD", "LMPOP", "ZMPOP"] {
            shapes[name] = .counted(1)
        }
        for name in ["XGROUP", "XINFO", "OBJECT", "MEMORY", "BITOP"] { shapes[name] = .key(2) }
        for name in ["DEL", "UNLINK", "EXISTS", "TOUCH"] { shapes[name] = .keys(.sum) }
        for name in [
            "PING", "ECHO", "INFO", "TIME", "SCRIPT", "CONFIG", "CLIENT", "CLUSTER", "COMMAND",
            "PUBSUB", "ROLE", "WAIT", "LASTSAVE", "LATENCY", "SLOWLOG", "ACL", "HELLO",
        ] { shapes[name] = .keyless }
        return shapes
    }()

    /// The route of a command.
    init(_ command: [RedisArgument]) {
        let name = command.first?.text ?? ""
        switch CommandRoute.shapes[name] ?? CommandRoute.shapes[name.uppercased()] ?? .key(1) {
        case .key(let place): self = CommandRoute.slot(of: command, at: place)
        case .counted(let place):
            let count = place < command.count ? command[place].text.flatMap { Int($0) } ?? 0 : 0
            self = count > 0 ? CommandRoute.slot(of: command, at: place + 1) : .anywhere
        case .streams:
            let place = command.firstIndex { $0.text?.uppercased() == "STREAMS" }
            self = CommandRoute.slot(of: command, at: (place ?? command.count) + 1)
        case .keys(let joining):
            let first = CommandRoute.slot(of: command, at: 1)
            let isSplit = command.indices.dropFirst(2).contains {
                CommandRoute.slot(of: command, at: $0) != first
            }
            self = isSplit ? .apart(joining) : first
        case .channel:
            guard case .slot(let slot) = CommandRoute.slot(of: command, at: 1) else {
                self = .anywhere
                return
            }
            self = .near(slot)
        case .keyless: self = .anywhere
        case .all(let joining): self = .everywhere(joining)
        case .foreign(let reason): self = .refused(reason)
        }
    }

    /// A command that lacks its key is any node's to refuse.
    private static func slot(of command: [RedisArgument], at place: Int) -> CommandRoute {
        guard place < command.count else { return .anywhere }
        return .slot(RedisKeySlot.slot(of: command[place]))
    }

    /// The command once for each of its keys, for ``apart(_:)``.
    static func parts(of command: [RedisArgument]) -> [[RedisArgument]] {
        command.dropFirst().map { [command[0], $0] }
    }
}

extension CommandRoute.Joining {
    /// One answer of several, or the first error among them.
    func joined(_ answers: [RedisValue]) -> RedisValue {
        if let error = answers.first(where: { $0.errorMessage != nil }) { return error }
        return switch self {
        case .first: answers.first ?? .null
        case .sum: .int(answers.reduce(0) { $0 + ($1.integer ?? 0) })
        case .list: .array(answers.flatMap { $0.array ?? [] })
        }
    }
}
