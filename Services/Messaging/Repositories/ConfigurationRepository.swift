internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform
internal import PostgresClient

/// What is configured under an id.
enum ConfigurationKind: String, Sendable, CaseIterable {
    case bot, coreAI = "core_ai", platform

    fileprivate var table: String {
        switch self {
        case .bot: "bots"
        case .coreAI: "core_ai"
        case .platform: "platforms"
        }
    }
}

/// Bots, the AI behind them, their platforms, and the channels they speak on.
@LoopActor
struct ConfigurationRepository {
    let postgres: PostgresClient
    let secrets: SecretBox

    func find(_ caller: Caller, _ kind: ConfigurationKind, _ id: UUID) async throws -> [UInt8]? {
        try await postgres.read(
            """
            select messaging.\(kind.rawValue)_json(x) item from messaging.\(kind.table) x
            where x.tenant_id = $1 and x.id = $2
            """,
            [.uuid(caller.tenant), .uuid(id)]
        ).first?.utf8("item")
    }

    func put(
        _ caller: Caller,
        _ kind: ConfigurationKind,
        _ id: UUID,
        _ body: JSON
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.put_\(kind.rawValue)($1, $2, $3, $4, $5)",
                [
                    .uuid(caller.tenant), .uuid(id), .json(body.text), .string(caller.actor),
                    .string(caller.requestID),
                ],
                idempotent: true
            ).one()
        )
    }

    /// What is configured for the bot of a conversation, in one read; `nil` without a conversation.
    func botConfiguration(
        _ caller: Caller,
        _ conversation: UUID
    ) async throws -> BotConfiguration? {
        let row = try await postgres.read(
            "select messaging.bot_configuration($1, $2) answer",
            [.uuid(caller.tenant), .uuid(conversation)]
        ).one()
        let document = try JSON(stored: row)
        guard !document.isNull else { return nil }
        return try BotConfiguration(document, tenant: caller.tenant, secrets: secrets)
    }

    /// What the tenant decides for all its bots.
    func botPolicy(_ caller: Caller) async throws -> JSON {
        try JSON(
            stored: try await postgres.read(
                "select messaging.bot_policy_json($1) answer",
                [.uuid(caller.tenant)]
            ).one()
        )
    }

    /// Changes what the tenant decides; what is absent stays.
    ///
    /// - Parameter handoffSeconds: 0 for never.
    func putBotPolicy(
        _ caller: Caller,
        allowsDefault: Bool?,
        controlWords: JSON?,
        handoffSeconds: Int?
    ) async throws -> JSON {
        try JSON(
            stored: try await postgres.query(
                "select messaging.put_bot_policy($1, $2, $3, $4, $5, $6) answer",
                [
                    .uuid(caller.tenant), PostgresValue(allowsDefault),
                    controlWords.map { .json($0.text) } ?? .null, PostgresValue(handoffSeconds),
                    .string(caller.actor), .string(caller.requestID),
                ],
                idempotent: true
            ).one()
        )
    }

    /// Sets how bursts are answered on a channel.
    func putMailbox(_ caller: Caller, channel: String, _ mailbox: JSON) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.put_channel_mailbox($1, $2, $3, $4, $5)",
                [
                    .uuid(caller.tenant), .string(channel), .json(mailbox.text),
                    .string(caller.actor), .string(caller.requestID),
                ],
                idempotent: true
            ).one()
        )
    }

    /// Sets for how many seconds a message opens a closed conversation again; `nil`: always.
    func putReopenWindow(
        _ caller: Caller,
        channel: String,
        seconds: Int?
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.put_reopen_window($1, $2, $3, $4, $5)",
                [
                    .uuid(caller.tenant), .string(channel), PostgresValue(seconds),
                    .string(caller.actor), .string(caller.requestID),
                ],
                idempotent: true
            ).one()
        )
    }

    /// Stores a core AI.
    ///
    /// Its token is sealed for its place. Without a token the one that is there stays; the empty
    /// one, and `***` of an answer sent back, are not stored.
    func putCoreAI(
        _ caller: Caller,
        _ id: UUID,
        _ body: JSON,
        token: String?
    ) async throws -> Outcome {
        var sealed: SealedSecret?
        if let token, !token.isEmpty, token != "***" {
            sealed = try secrets.seal(
                Secret(token),
                context: "\(caller.tenant.text)|core_ai|\(id.text)"
            )
        }
        return try Outcome(
            try await postgres.query(
                "select * from messaging.put_core_ai($1, $2, $3, $4, $5, $6, $7, $8)",
                [
                    .uuid(caller.tenant), .uuid(id), .json(body.text),
                    PostgresValue(sealed?.keyID), sealed.map { .bytes($0.bytes) } ?? .null,
                    .bool(token == ""), .string(caller.actor), .string(caller.requestID),
                ],
                idempotent: true
            ).one()
        )
    }

    func putChannel(
        _ caller: Caller,
        _ code: String,
        version: Int,
        _ body: JSON
    ) async throws -> Outcome {
        try Outcome(
            try await postgres.query(
                "select * from messaging.put_channel($1, $2, $3, $4)",
                [.uuid(caller.tenant), .string(code), .int(version), .json(body.text)],
                idempotent: true
            ).one()
        )
    }

    /// Sets the bot of a channel, or the tenant's when `channel` is `nil`.
    ///
    /// Returns the outcome.
    func setFallbackBot(
        _ caller: Caller,
        channel: String?,
        bot: UUID?
    ) async throws -> String {
        try await postgres.query(
            "select outcome from messaging.set_fallback_bot($1, $2, $3, $4, $5) outcome",
            [
                .uuid(caller.tenant), PostgresValue(channel), PostgresValue(bot),
                .string(caller.actor), .string(caller.requestID),
            ],
            idempotent: true
        ).one().string("outcome")
    }
}
