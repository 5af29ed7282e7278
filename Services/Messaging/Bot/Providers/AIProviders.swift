internal import EventLoop
internal import FoundationEssentials
internal import Platform

/// The providers by name, with the memory of answers in front of those that cost something.
@LoopActor
struct AIProviders {
    /// By the name in a core AI's `meta_data.provider`.
    let named: [String: any AIProvider]
    let memory: AnalysisCache

    func answer(_ work: JobWork) async throws(AIProviderError) -> AIAnswer {
        try await answer(work.bot, work.request, tenant: work.tenant)
    }

    /// The answer to a request: a remembered one, or the provider's.
    func answer(
        _ bot: BotConfiguration,
        _ request: AIRequest,
        tenant: String
    ) async throws(AIProviderError) -> AIAnswer {
        guard let provider = named[bot.core.provider] else {
            throw AIProviderError(
                isFinal: true,
                description: "there is no provider '\(bot.core.provider)'"
            )
        }
        guard bot.remembersAnswers else { return try await provider.answer(request) }
        let key = AnalysisCache.key(tenant, request)
        if let known = await memory.find(key) { return known }
        let start = MonotonicTime.now()
        let answer = try await provider.answer(request)
        memory.keep(key, answer, took: MonotonicTime.now() - start)
        return answer
    }
}
