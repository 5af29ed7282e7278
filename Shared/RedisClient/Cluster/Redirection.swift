/// What a node of a cluster says in place of running a command.
///
/// Each of them proves that the command did not run, so it may be sent again.
enum Redirection: Hashable {
    /// The slot has another node now.
    case moved(slot: Int, to: RedisConfiguration.Endpoint)
    /// The slot is being moved and the key is at the other node already: this command goes there,
    /// after `ASKING`.
    case ask(RedisConfiguration.Endpoint)
    /// The slot is being moved and the command's keys are at both nodes.
    case tryAgain

    /// How often one command is sent elsewhere: a slot that moves on meanwhile takes two.
    static let followMax = 5
    /// How long a command waits before it is tried again.
    static let pause: Duration = .milliseconds(20)

    /// Reads the words of an error; nil when they are none of these.
    ///
    /// - Parameter asked: who said them; a node may leave out a host that is its own.
    init?(_ message: String, from asked: RedisConfiguration.Endpoint) {
        if message.hasPrefix("TRYAGAIN") {
            self = .tryAgain
            return
        }
        guard message.hasPrefix("MOVED ") || message.hasPrefix("ASK ") else { return nil }
        let words = message.split(separator: " ")
        guard words.count >= 3, let slot = Int(words[1]),
            let server = Redirection.server(words[2], asked)
        else { return nil }
        self = words[0] == "MOVED" ? .moved(slot: slot, to: server) : .ask(server)
    }

    private static func server(
        _ text: Substring,
        _ asked: RedisConfiguration.Endpoint
    ) -> RedisConfiguration.Endpoint? {
        // An IPv6 address has colons of its own.
        guard let colon = text.lastIndex(of: ":"), case .tcp(let own, _) = asked,
            let port = Int(text[text.index(after: colon)...]), (1...65_535).contains(port)
        else { return nil }
        let host = text[..<colon]
        return .tcp(host: host.isEmpty ? own : String(host), port: port)
    }
}
