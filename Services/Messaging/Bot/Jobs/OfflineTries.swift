internal import EventLoop
internal import JSON

/// Asks the provider for a job that the database does not know, as often as any job is tried.
@LoopActor
struct OfflineTries {
    let providers: AIProviders
    let settings: BotSettings

    /// How the job ended: members of its document.
    ///
    /// - Parameter began: told of each try before it is made.
    func end(
        _ bot: BotConfiguration,
        _ request: AIRequest,
        tenant: String,
        began: @LoopActor (_ attempt: Int) -> Void
    ) async -> JSONObject {
        var end: JSONObject = ["status": "failed"]
        for attempt in 1...settings.attemptsMax where !Task.isCancelled {
            began(attempt)
            do {
                let answer = try await providers.answer(bot, request, tenant: tenant)
                return OfflineTries.completed(answer, bot)
            } catch {
                end = ["status": "failed", "error": .string(error.description)]
                if error.isFinal { break }
                await pause(after: attempt, error)
            }
        }
        return Task.isCancelled ? ["status": "cancelled"] : end
    }

    private static func completed(_ answer: AIAnswer, _ bot: BotConfiguration) -> JSONObject {
        if Task.isCancelled { return ["status": "cancelled"] }
        let reply = BotReply(answer.text, marker: bot.handoverMarker)
        return [
            "status": "completed", "error": nil,
            "result": [
                "text": .string(reply.text), "provider": .string(bot.core.provider),
                "tokens": JSON(answer.tokens), "handover": .bool(reply.asksForPerson),
                "remembered": .bool(answer.isRemembered),
            ],
        ]
    }

    private func pause(after attempt: Int, _ error: AIProviderError) async {
        guard attempt < settings.attemptsMax else { return }
        try? await EventLoop.shared.sleep(
            for: RetryPause.after(
                attempts: attempt,
                base: settings.retryPause,
                asked: error.retryAfter,
                jitter: .random(in: 0...1)
            )
        )
    }
}
