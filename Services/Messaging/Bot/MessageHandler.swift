internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON

/// The orchestrator of document 004: configuration, history, lock, job, and an answer at once.
@LoopActor
final class MessageHandler {
    private let configurations: BotConfigService
    private let jobs: BackgroundJobManager
    private let handovers: LateHandovers
    private let start: @LoopActor () -> Void
    private var isInitialized = false

    /// - Parameter start: begins to work on jobs; called once.
    init(
        configurations: BotConfigService,
        jobs: BackgroundJobManager,
        handovers: LateHandovers,
        start: @escaping @LoopActor () -> Void
    ) {
        self.configurations = configurations
        self.jobs = jobs
        self.handovers = handovers
        self.start = start
    }

    /// Begins to work on jobs.
    ///
    /// The service calls it at its start, and the first request otherwise; further calls change
    /// nothing.
    func initialize() {
        guard !isInitialized else { return }
        isInitialized = true
        start()
    }

    /// Takes a request and answers without waiting for the AI.
    ///
    /// - Throws: a 404 for an unknown conversation; a 503 when nothing can hold its lock, or keep
    ///   that it is to be handed over.
    func handleMessageRequest(_ caller: Caller, _ request: HandleRequest) async throws -> JSON {
        initialize()
        let found: BotConfiguration?
        do {
            found = try await HandlerSteps.measure(.configuration) {
                try await configurations.getBotConfig(caller, request.conversation)
            }
        } catch is NoBotMayAnswer {
            try await handovers.want(LateHandovers.Wish(caller, request.conversation))
            return ["success": true, "status": "human", "action": "handover_requested"]
        }
        guard var bot = found else { throw Problem.notFound }
        let made = try await HandlerSteps.measure(.job) { [bot] in
            try await jobs.createAIProcessingJob(caller, request, bot: bot)
        }
        // What was read a moment ago may have changed since, and nobody can look.
        if made.isOffline, bot.source == .database { bot.source = .lastGood }
        return MessageHandler.answer(made.start, bot)
    }

    /// The answers of api.md 2.2.
    nonisolated static func answer(_ start: JobStart, _ bot: BotConfiguration) -> JSON {
        var answer: JSONObject
        switch start {
        case .started(let job, let lockID, let consolidated):
            answer = [
                "success": true, "status": "ai_processing_started", "action": "lock_acquired",
                "ai_job_id": .string(job), "lock_id": .string(lockID),
                "consolidated_messages": .int(Int64(consolidated)), "bot_name": .string(bot.name),
            ]
        case .locked(let buffered, let pending):
            answer = [
                "success": true, "status": "locked", "action": "lock_exists",
                "message": "Message being processed by another request",
                "buffered": .bool(buffered), "pending_count": .int(Int64(pending)),
            ]
        case .inactive: answer = ["success": true, "status": "bot_inactive", "action": "none"]
        case .human: answer = ["success": true, "status": "human", "action": "none"]
        }
        if bot.source != .database { answer["config_source"] = .string(bot.source.rawValue) }
        return .object(answer)
    }
}
