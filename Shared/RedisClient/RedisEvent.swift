internal import EventLoop

/// What happens to a client between its commands; for logs and metrics.
public enum RedisEvent: Sendable, Hashable {
    /// A connection is ready for commands.
    case connected(RedisServerFacts)
    /// An attempt to connect failed; the next one follows after the pause.
    case attemptFailed(RedisError, retryIn: Duration)
    /// A connection that was ready has ended; the next attempt follows after the pause.
    case connectionLost(RedisError, retryIn: Duration)
    /// A command of this name had no answer in time.
    case deadlinePassed(command: String)
    /// A command of this name was refused, as too many were waiting.
    case queueFull(command: String)
    /// The server had forgotten this script and was sent it again.
    case scriptReloaded(name: String)
    /// Files of TLS have changed and cannot be taken; those before them stay in force.
    case filesRefused(RedisConfigurationError)
}

/// Is told of every ``RedisEvent``, on the loop; must not wait.
public typealias RedisObserver = @LoopActor (RedisEvent) -> Void

/// What a client counted since it was made.
public struct RedisReadings: Sendable, Hashable {
    /// Commands sent.
    public internal(set) var commands = 0
    /// Writes that carried them: commands divided by writes is the depth of the pipelining.
    public internal(set) var writes = 0
    /// Commands without an answer in time.
    public internal(set) var deadlines = 0
    /// Commands refused because too many were waiting.
    public internal(set) var refusals = 0
    /// Connections that became ready.
    public internal(set) var connections = 0
    /// Commands waiting for answers now.
    public internal(set) var pending = 0

    static func + (one: RedisReadings, other: RedisReadings) -> RedisReadings {
        var sum = one
        sum.commands += other.commands
        sum.writes += other.writes
        sum.deadlines += other.deadlines
        sum.refusals += other.refusals
        sum.connections += other.connections
        sum.pending += other.pending
        return sum
    }
}

/// The counters and the observer of one client, shared with its connections.
@LoopActor
final class RedisMeter {
    var readings = RedisReadings()
    private let observer: RedisObserver?

    init(_ observer: RedisObserver?) { self.observer = observer }

    func note(_ event: RedisEvent) {
        switch event {
        case .connected: readings.connections += 1
        case .deadlinePassed: readings.deadlines += 1
        case .queueFull: readings.refusals += 1
        case .attemptFailed, .connectionLost, .scriptReloaded, .filesRefused: break
        }
        observer?(event)
    }

    func note(_ error: RedisError, of command: String) {
        switch error.code {
        case .deadline: note(.deadlinePassed(command: command))
        case .queueFull: note(.queueFull(command: command))
        case .notConnected, .connectionLost, .authentication, .unsupportedServer, .unavailable,
            .server, .protocolViolation, .cancelled:
            break
        }
    }
}
