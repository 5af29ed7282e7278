internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import Logging
internal import PostgresClient

/// Knows how many processes of the engine live, because a counter in memory is right for one alone.
@LoopActor
final class InstanceWatch {
    static let interval: Duration = .seconds(5)
    /// A process that gave no sign of life for so long is gone.
    static let goneAfter: Duration = .seconds(15)

    private let id = UUID()
    private let postgres: PostgresClient
    private let contexts: any RoundRobinContextProvider
    private let logger: Logger
    private var others = 0
    private lazy var signs = RepeatedWork(every: InstanceWatch.interval) { [weak self] in
        await self?.giveSign()
    }

    init(postgres: PostgresClient, contexts: any RoundRobinContextProvider, logger: Logger) {
        self.postgres = postgres
        self.contexts = contexts
        self.logger = logger
    }

    /// Why this process must not serve; nil when it may.
    var fault: String? {
        guard contexts.name == "memory", others > 0 else { return nil }
        return "round robin counts in memory here and in \(others) other live instances"
    }

    /// Gives the first sign of life, and goes on.
    func start() async {
        await giveSign()
        signs.start()
    }

    private func giveSign() async {
        do {
            others = try await postgres.query(
                "select assignment.note_instance($1, $2, $3 * interval '1 ms') as others",
                [
                    .uuid(id), .string(contexts.name),
                    .int(InstanceWatch.goneAfter.milliseconds),
                ]
            ).one().int("others")
        } catch {
            logger.warning("the instances are not known", metadata: ["reason": "\(error)"])
        }
    }

    /// Says goodbye.
    func stop() async {
        await signs.end()
        _ = try? await postgres.query(
            "delete from assignment.instances where id = $1",
            [.uuid(id)]
        )
    }
}
