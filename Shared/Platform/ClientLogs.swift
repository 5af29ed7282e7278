internal import FoundationEssentials
internal import Coordination
internal import EventLoop
internal import JSON
internal import Logging
internal import Outbox
internal import PostgresClient
internal import RedisClient

/// Puts what the database client notices into the log.
struct PostgresLog: PostgresObserver {
    let logger: Logger

    @LoopActor func postgres(_ event: PostgresEvent) {
        logger.log(level: event.isWarning ? .warning : .info, "postgres: \(event)")
    }
}

/// Puts what the Redis client notices into the log.
enum RedisLog {
    @LoopActor static func note(_ event: RedisEvent, _ logger: Logger) {
        switch event {
        case .connected: logger.info("redis: \(event)")
        case .scriptReloaded: logger.debug("redis: \(event)")
        default: logger.warning("redis: \(event)")
        }
    }
}

/// Puts what the outbox does into the log.
enum OutboxLog {
    @LoopActor static func note(_ event: OutboxEvent, _ logger: Logger) {
        switch event {
        case .published(let count): logger.debug("outbox: published \(count)")
        case .called(let row): logger.debug("outbox: delivered \(describe(row))")
        case .postponed(let row, let reason, let delay):
            logger.warning(
                "outbox: \(describe(row)) must wait \(delay.milliseconds) ms: \(reason)"
            )
        case .laidAside(let row, let reason):
            logger.error("outbox: \(describe(row)) was laid aside: \(reason)")
        case .passFailed(let reason): logger.warning("outbox: the pass failed: \(reason)")
        }
    }

    private static func describe(_ row: OutboxRow) -> String {
        "\(row.target)\(row.path) \(row.eventID.text)"
    }
}
