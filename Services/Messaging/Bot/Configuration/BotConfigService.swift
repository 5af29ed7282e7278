internal import Coordination
internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import PostgresClient
internal import Telemetry

/// Finds the configuration of a conversation's bot, and goes on while the database is away.
///
/// What was read is believed for a minute. While the database is away what was read at most ten
/// minutes ago goes on; after that the built-in bot answers, unless the tenant forbids it. What
/// nobody asked for in ten minutes is forgotten.
@LoopActor
final class BotConfigService {
    /// How many conversations and tenants are remembered; above it the cache starts anew.
    static let cacheLimit = 20_000
    /// Between two lines of the log that say that the database is away.
    static let warningInterval: Duration = .seconds(60)

    private struct Known<Value> {
        let value: Value
        let readAt: MonotonicTime
    }

    /// What a tenant decides for all its bots.
    private struct Policy {
        let allowsDefault: Bool
        let controlWords: ControlWords
    }

    private let settings: ConfigurationRepository
    private let logger: Logger
    private let freshFor: Duration
    private let staleFor: Duration
    private var willForget = false
    private var lastWarning = MonotonicTime(nanoseconds: 0)
    private var configurations: [UUID: [UUID: Known<BotConfiguration>]] = [:]
    private var policies: [UUID: Known<Policy>] = [:]
    private var count = 0

    /// - Parameters:
    ///   - freshFor: how long a configuration is believed without looking.
    ///   - staleFor: how long it is believed while the database is away.
    init(
        settings: ConfigurationRepository,
        logger: Logger,
        freshFor: Duration,
        staleFor: Duration
    ) {
        self.settings = settings
        self.logger = logger
        self.freshFor = freshFor
        self.staleFor = staleFor
    }

    /// How many conversations and tenants are remembered now.
    var remembered: Int { count + policies.count }

    /// The bot of a conversation: its own, else its channel's, else its tenant's, else the built-in.
    ///
    /// Returns `nil` when there is no such conversation.
    ///
    /// - Throws: ``NoBotMayAnswer`` while the database is away and nothing may stand in.
    func getBotConfig(_ caller: Caller, _ conversation: UUID) async throws -> BotConfiguration? {
        let now = EventLoop.shared.now
        let known = configurations[caller.tenant]?[conversation]
        if let known, now - known.readAt < freshFor { return known.value }
        do {
            let found = try await settings.botConfiguration(caller, conversation)
            guard let found else { return nil }
            remember(caller, conversation, found)
            // Known now, for when the database is away.
            _ = await policy(caller)
            return found
        } catch let error as PostgresError where error.isUnavailable {
            do {
                let value = try standIn(caller, known, now)
                noteStandIn(value.source.rawValue, now)
                return value
            } catch {
                noteStandIn("people", now)
                throw error
            }
        }
    }

    private func standIn(
        _ caller: Caller,
        _ known: Known<BotConfiguration>?,
        _ now: MonotonicTime
    ) throws -> BotConfiguration {
        if var value = known?.value, let known, now - known.readAt < staleFor {
            value.source = .lastGood
            return value
        }
        guard policies[caller.tenant]?.value.allowsDefault ?? true else {
            throw NoBotMayAnswer()
        }
        return try defaultBotConfig(caller)
    }

    /// Counts what stood in for a configuration, and says so once in a while.
    private func noteStandIn(_ source: String, _ now: MonotonicTime) {
        PrometheusRegistry.shared.counter(
            "bot_configuration_stand_ins",
            "Requests whose bot's configuration could not be read, by what stood in for it.",
            ["source": source]
        ).increment()
        guard now - lastWarning >= BotConfigService.warningInterval else { return }
        lastWarning = now
        logger.error(
            "bot: the database is away, and configurations cannot be read",
            metadata: ["source": "\(source)"]
        )
    }

    /// The built-in bot, which answers when nothing is configured or can be known.
    func defaultBotConfig(_ caller: Caller) throws -> BotConfiguration {
        var standard = try BotConfiguration([:], tenant: caller.tenant, secrets: settings.secrets)
        standard.source = .standard
        return standard
    }

    /// The order to the bot that a contact's text is, by the tenant's words and the built-in ones.
    func controlWord(_ caller: Caller, _ text: String) async -> ControlWord? {
        guard ControlWords.mayBe(text) else { return nil }
        return await policy(caller).controlWords.meaning(of: text)
    }

    /// What the tenant decided, as far as it can be known.
    private func policy(_ caller: Caller) async -> Policy {
        let now = EventLoop.shared.now
        let known = policies[caller.tenant]
        if let known, now - known.readAt < freshFor { return known.value }
        do {
            let document = try await settings.botPolicy(caller)
            let value = Policy(
                allowsDefault: document["allow_default_bot"]?.boolValue ?? true,
                controlWords: ControlWords(
                    stop: strings(document["control_words"]?["stop"]),
                    agent: strings(document["control_words"]?["agent"])
                )
            )
            makeRoom()
            policies[caller.tenant] = Known(value: value, readAt: now)
            return value
        } catch {
            logger.warning(
                "bot: a tenant's policy could not be read",
                metadata: ["reason": "\(error)"]
            )
            return known?.value ?? Policy(allowsDefault: true, controlWords: ControlWords())
        }
    }

    /// Forgets what is known of a tenant: something of it was configured here.
    func forget(_ caller: Caller) {
        count -= configurations[caller.tenant]?.count ?? 0
        configurations[caller.tenant] = nil
        policies[caller.tenant] = nil
    }

    /// Reads the tenant's decisions anew, after they were changed here.
    func renew(_ caller: Caller) async {
        forget(caller)
        _ = await policy(caller)
    }

    private func remember(_ caller: Caller, _ conversation: UUID, _ value: BotConfiguration) {
        makeRoom()
        let known = Known(value: value, readAt: EventLoop.shared.now)
        let old = configurations[caller.tenant, default: [:]].updateValue(
            known,
            forKey: conversation
        )
        if old == nil { count += 1 }
    }

    private func makeRoom() {
        forgetLater()
        guard remembered >= BotConfigService.cacheLimit else { return }
        configurations = [:]
        policies = [:]
        count = 0
    }

    /// Looks once in a while, for as long as there is something to forget.
    private func forgetLater() {
        guard !willForget else { return }
        willForget = true
        EventLoop.shared.schedule(after: freshFor) { [weak self] in
            guard let self else { return }
            willForget = false
            forgetIdle()
            if remembered > 0 { forgetLater() }
        }
    }

    /// What is too old to stand in for anything is of no use.
    private func forgetIdle() {
        let now = EventLoop.shared.now
        policies = policies.filter { now - $0.value.readAt < staleFor }
        configurations = configurations.mapValues { known in
            known.filter { now - $0.value.readAt < staleFor }
        }.filter { !$0.value.isEmpty }
        count = configurations.values.reduce(0) { $0 + $1.count }
    }
}

/// The database is away, nothing is known of the conversation's bot, and the tenant forbids the
/// built-in one: the conversation goes to people.
struct NoBotMayAnswer: Error {}

/// The strings of an array; none when it is no array.
private func strings(_ list: JSON?) -> [String] {
    list?.arrayValue?.compactMap(\.stringValue) ?? []
}
