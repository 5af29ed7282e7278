internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// AI jobs, the workers, and the locks of conversations.
@LoopActor
struct JobRoutes {
    /// How many locks are listed at most.
    static let locksMax = 200
    /// The longest age that a cleanup may name, in hours: as long as ended jobs are kept.
    static let ageMax = 720.0

    let manager: BackgroundJobManager
    let locks: MessageLockManager

    var routes: [Route] { [find, cancel, workers, lockInfo, release, listLocks, cleanup] }

    private var find: Route {
        Route(
            .get,
            "/v1/ai-jobs/{id}",
            access: .roleOrService(.viewer),
            summary: "An AI job",
            tag: "AI jobs",
            responses: [200: RouteResponse("It.", schema: Schemas.reference("AIJob"))],
            handler: { [manager] request in
                try await manager.getJobStatus(try request.caller(), try request.id())
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
            handler: { [manager] request in
                try await manager.cancelJob(try request.caller(), try request.id())
            }
        )
    }

    private var workers: Route {
        Route(
            .get,
            "/v1/ai-workers",
            access: .roleOrService(.viewer),
            summary: "The processes that work on AI jobs",
            description: "One that gave no sign of life for the time of a lease is `lost`.",
            tag: "AI jobs",
            responses: [200: RouteResponse("They.", schema: Schemas.free)],
            handler: { [manager] _ in
                let workers = try await manager.getWorkerStatus()
                return .json(200, ["items": .array(workers), "next_cursor": nil])
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
            responses: [200: RouteResponse("The lock.", schema: Schemas.reference("Lock"))],
            handler: { [locks] request in
                let info = try await locks.getLockInfo(try request.caller(), try request.id())
                return .json(200, info?.document ?? ["locked": false])
            }
        )
    }

    private var release: Route {
        Route(
            .delete,
            "/v1/conversations/{id}/lock",
            access: .role(.admin),
            summary: "Release a conversation's lock",
            description: "The job that holds it is superseded and its answer never posted; what it "
                + "was to answer is answered by the next one.",
            tag: "AI jobs",
            queryParameters: [QueryParameter("reason", "Why; kept in the audit.")],
            responses: [200: RouteResponse("It is free.", schema: Schemas.free)],
            handler: { [manager] request in
                let reason = request.query["reason"] ?? ""
                guard reason.unicodeScalars.count <= 500 else {
                    throw Problem.invalid("/query/reason", "must have at most 500 characters")
                }
                let isReleased = try await manager.releaseConversationLock(
                    try request.caller(),
                    try request.id(),
                    reason: reason.isEmpty ? "released by an administrator" : reason
                )
                guard isReleased else { throw Problem.notFound }
                return .json(200, ["released": true])
            }
        )
    }

    private var listLocks: Route {
        Route(
            .get,
            "/v1/admin/locks",
            access: .role(.admin),
            summary: "The locks that are held, oldest first",
            description: "At most \(JobRoutes.locksMax). One is orphaned when nobody has shown a "
                + "sign of life for its job; such locks are freed within seconds. So is a record "
                + "of a job that is not there; it ends by itself, within five minutes.",
            tag: "AI jobs",
            responses: [200: RouteResponse("They.", schema: Schemas.free)],
            handler: { [manager] request in
                let items = try await manager.heldLocks(
                    try request.caller(),
                    limit: JobRoutes.locksMax
                )
                return .json(200, ["items": .array(items), "next_cursor": nil])
            }
        )
    }

    private var cleanup: Route {
        Route(
            .post,
            "/v1/admin/locks/cleanup",
            access: .role(.admin),
            summary: "Release the locks that are older than some hours",
            tag: "AI jobs",
            idempotency: .replayed,
            requestSchema: JSONFields.schema(JobRoutes.age),
            responses: [200: RouteResponse("How many were.", schema: Schemas.free)],
            handler: { [manager] request in
                let hours = try request.readOptional(JobRoutes.age)
                let cleaned = try await manager.cleanupOldLocks(
                    try request.caller(),
                    olderThan: .seconds(hours * 3600)
                )
                return .json(200, ["cleaned": .int(Int64(cleaned))])
            }
        )
    }

    private static func age(_ fields: inout JSONFields) -> Double {
        fields.double("max_age_hours", in: 0...ageMax)
    }
}
