internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON

/// AI jobs and the locks of conversations.
@LoopActor
struct JobRoutes {
    let jobs: AIJobRepository
    let conversations: ConversationRepository
    let lock: ConversationLock
    /// The state of the handler's components, for `/v1/handler/status`.
    let status: @LoopActor () -> JSON

    var routes: [Route] { [find, cancel, lockInfo, release, handlerStatus] }

    private var find: Route {
        Route(
            .get,
            "/v1/ai-jobs/{id}",
            access: .roleOrService(.viewer),
            summary: "An AI job",
            tag: "AI jobs",
            responses: [200: RouteResponse("It.", schema: Schemas.reference("AIJob"))],
            handler: ErrorMapping.translating { request in
                guard let item = try await jobs.find(try request.caller(), try request.id())
                else { throw Problem.notFound }
                return .json(bytes: item)
            }
        )
    }

    private var cancel: Route {
        Route(
            .post,
            "/v1/ai-jobs/{id}/cancel",
            access: .roleOrService(.agent),
            summary: "Cancel an AI job",
            description: "Its answer is never posted; a job that has ended is a conflict.",
            tag: "AI jobs",
            idempotency: .replayed,
            responses: [200: RouteResponse("It is.", schema: Schemas.reference("AIJob"))],
            handler: ErrorMapping.translating { request in
                let caller = try request.caller()
                let outcome = try await jobs.stop(
                    caller,
                    job: try request.id(),
                    status: "cancelled",
                    reason: "cancelled by request"
                )
                switch outcome.name {
                case "ended":
                    let job = try JSON(parsing: outcome.answer)
                    if let text = job["conversation_id"]?.stringValue,
                        let conversation = UUID(uuidString: text)
                    {
                        await lock.clear(caller, conversation: conversation)
                    }
                    return .json(bytes: outcome.answer)
                case "over":
                    let state = try JSON(parsing: outcome.answer)["status"]?.stringValue ?? "ended"
                    throw Problem.conflict("job_has_ended", "the job is \(state)")
                default: throw Problem.notFound
                }
            }
        )
    }

    private var lockInfo: Route {
        Route(
            .get,
            "/v1/conversations/{id}/lock",
            access: .roleOrService(.viewer),
            summary: "Who works on a conversation",
            tag: "AI jobs",
            responses: [200: RouteResponse("The lock.", schema: Schemas.free)],
            handler: ErrorMapping.translating { request in
                let caller = try request.caller()
                let id = try request.id()
                let found = try await jobs.live(caller, conversation: id)
                guard found.exists else { throw Problem.notFound }
                guard let job = found.job else { return .json(["locked": false]) }
                let shown = await lock.holder(caller, conversation: id)
                let value = shown.flatMap { try? JSON(parsing: Array($0.value.utf8)) }
                let holder = job.worker ?? value?["o"]?.stringValue
                return .json([
                    "locked": true, "lock_id": .string(job.lockID.text),
                    "holder": JSON(holder), "age_ms": .int(job.ageMilliseconds),
                    "ttl_ms": JSON(shown.map { Int64($0.remaining.milliseconds) }),
                    "ai_job_id": .string(job.id.text),
                    "pending_count": .int(Int64(job.pendingCount)),
                ])
            }
        )
    }

    private var release: Route {
        Route(
            .delete,
            "/v1/conversations/{id}/lock",
            access: .role(.admin),
            summary: "Release a conversation's lock",
            description: "The job that holds it is superseded; its answer is never posted.",
            tag: "AI jobs",
            queryParameters: [QueryParameter("reason", "Why; kept in the audit.")],
            responses: [200: RouteResponse("It is free.", schema: Schemas.free)],
            handler: ErrorMapping.translating { request in
                let caller = try request.caller()
                let id = try request.id()
                let outcome = try await jobs.stop(
                    caller,
                    conversation: id,
                    status: "superseded",
                    reason: request.query["reason"] ?? "released by an administrator"
                )
                guard outcome.name == "ended" else { throw Problem.notFound }
                await lock.clear(caller, conversation: id)
                return .json(["released": true])
            }
        )
    }

    private var handlerStatus: Route {
        Route(
            .get,
            "/v1/handler/status",
            access: .roleOrService(.viewer),
            summary: "The message handler's components",
            tag: "AI jobs",
            responses: [200: RouteResponse("Their state.", schema: Schemas.free)],
            handler: ErrorMapping.translating { _ in .json(status()) }
        )
    }
}
