/// What a subscriber listens to.
public enum RedisSubscription: Sendable, Hashable {
    /// One channel.
    case channel(String)
    /// All channels that match a glob-style pattern.
    case pattern(String)

    var subscribing: [RedisArgument] {
        switch self {
        case .channel(let name): ["SUBSCRIBE", .string(name)]
        case .pattern(let pattern): ["PSUBSCRIBE", .string(pattern)]
        }
    }

    var unsubscribing: [RedisArgument] {
        switch self {
        case .channel(let name): ["UNSUBSCRIBE", .string(name)]
        case .pattern(let pattern): ["PUNSUBSCRIBE", .string(pattern)]
        }
    }
}

/// A message that was published.
public struct RedisMessage: Sendable, Hashable {
    /// What it came by.
    public let subscription: RedisSubscription
    /// Where it was published.
    public let channel: String
    /// Its bytes.
    public let payload: [UInt8]

    /// A message of `channel`.
    public init(subscription: RedisSubscription, channel: String, payload: [UInt8]) {
        self.subscription = subscription
        self.channel = channel
        self.payload = payload
    }

    /// Its bytes as text; nil when they are no UTF-8.
    public var text: String? { String(validating: payload, as: UTF8.self) }
}

/// What the server sends to a subscriber.
enum RedisPush: Hashable {
    case message(RedisMessage)
    case subscribed(RedisSubscription)
    case unsubscribed(RedisSubscription)

    private static let kinds: Set<String> = [
        "message", "pmessage", "subscribe", "psubscribe", "unsubscribe", "punsubscribe",
    ]

    /// Whether a value is of these kinds, whole or not.
    static func isPush(_ value: RedisValue) -> Bool {
        guard let kind = value.array?.first?.text else { return false }
        return kinds.contains(kind)
    }

    /// Nil for anything that is none of these.
    init?(_ value: RedisValue) {
        guard let parts = value.array, let kind = parts.first?.text, parts.count >= 3,
            let name = parts[1].text
        else { return nil }
        switch kind {
        case "message":
            guard let payload = parts[2].bytes else { return nil }
            self = .message(
                RedisMessage(subscription: .channel(name), channel: name, payload: payload)
            )
        case "pmessage":
            guard parts.count == 4, let channel = parts[2].text, let payload = parts[3].bytes
            else { return nil }
            self = .message(
                RedisMessage(subscription: .pattern(name), channel: channel, payload: payload)
            )
        case "subscribe": self = .subscribed(.channel(name))
        case "psubscribe": self = .subscribed(.pattern(name))
        case "unsubscribe": self = .unsubscribed(.channel(name))
        case "punsubscribe": self = .unsubscribed(.pattern(name))
        default: return nil
        }
    }
}
