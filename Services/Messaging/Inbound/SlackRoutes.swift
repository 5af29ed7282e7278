internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Logging

/// Lets in what Slack has signed.
///
/// The secret of the whole installation is tried on the bytes as they came; only a team whose
/// workspace has a secret of its own is looked up by what the body claims, and then checked. Who signs
/// with such a secret speaks for its tenant alone, whatever team others name as theirs.
@LoopActor
final class SlackAuthenticator: Authenticator {
    private let secret: Secret?
    private let inbound: InboundRepository

    nonisolated init(secret: Secret?, inbound: InboundRepository) {
        self.secret = secret
        self.inbound = inbound
    }

    func authenticate(_ request: Request) async throws -> Principal {
        guard
            let signature = SlackSignature(
                timestamp: request.fields["X-Slack-Request-Timestamp"],
                signature: request.fields["X-Slack-Signature"]
            ), signature.isFresh(now: WallClock.milliseconds() / 1000)
        else { throw SlackAuthenticator.refusal }
        // Slack sends UTF-8: other bytes are not its own, whoever signed them.
        guard String(validating: request.body, as: UTF8.self) != nil else {
            throw SlackAuthenticator.refusal
        }
        if let secret, signature.isValid(request.body, secret: secret) {
            return SlackAuthenticator.slack(for: "")
        }
        guard let team = (try? JSON(parsing: request.body, limits: .foreign))?["team_id"],
            let team = team.stringValue
        else { throw SlackAuthenticator.refusal }
        for (tenant, secret) in try await inbound.signingSecrets(of: team)
        where signature.isValid(request.body, secret: secret) {
            return SlackAuthenticator.slack(for: tenant)
        }
        throw SlackAuthenticator.refusal
    }

    /// Slack, on behalf of one tenant, or of whichever has the channel.
    private static func slack(for tenant: String) -> Principal {
        Principal(tenant: tenant, role: nil, keyID: "slack")
    }

    private static var refusal: Problem {
        var problem = Problem(
            status: 401,
            code: "bad_signature",
            detail: "the request is not signed by Slack, or was signed more than 5 minutes ago"
        )
        // What is wrong now will be wrong at the next try.
        problem.fields["X-Slack-No-Retry"] = "1"
        return problem
    }
}

/// The Events API of Slack.
@LoopActor
struct SlackRoutes {
    /// Bytes that an event may have.
    static let bodyMax = 256 * 1024

    let inbound: InboundRepository
    let authenticator: SlackAuthenticator
    let logger: Logger
    /// Called when an event was kept.
    let received: @LoopActor () -> Void

    var routes: [Route] { [events] }

    private var events: Route {
        Route(
            .post,
            "/v1/channels/slack/events",
            access: .custom(authenticator),
            summary: "Take an event of Slack's Events API",
            description: "Kept before it is answered, worked on afterwards; a repeat of its "
                + "`event_id` changes nothing.",
            tag: "Channels",
            bodyLimit: SlackRoutes.bodyMax,
            requestContentTypes: ["application/json"],
            responses: [200: RouteResponse("It is kept.", schema: Schemas.free)],
            handler: { request in
                let envelope = try JSON(parsing: request.body, limits: .foreign)
                if envelope["type"]?.stringValue == "url_verification" {
                    return .json(["challenge": envelope["challenge"] ?? .null])
                }
                return try await keep(request, envelope)
            }
        )
    }

    private func keep(_ request: Request, _ envelope: JSON) async throws -> Response {
        guard let event = SlackEnvelope(envelope) else {
            // Signed, and nothing that a conversation is told of.
            return .json(["outcome": "ignored"])
        }
        let tenant = try request.context.requirePrincipal().tenant
        let outcome = try await inbound.receiveSlack(
            event,
            body: request.body,
            tenant: tenant.isEmpty ? nil : tenant,
            request: request.context.requestID
        )
        switch outcome {
        case "stored": received()
        case "unknown_team":
            logger.notice(
                "an event of a Slack team that nobody has proven to be theirs was dropped",
                metadata: ["team_id": "\(event.team)", "event_id": "\(event.id)"]
            )
        default:
            logger.info(
                "an event of Slack came again",
                metadata: [
                    "event_id": "\(event.id)",
                    "retry": "\(request.fields["X-Slack-Retry-Num"] ?? "-")",
                    "reason": "\(request.fields["X-Slack-Retry-Reason"] ?? "-")",
                ]
            )
        }
        return .json(["outcome": .string(outcome)])
    }
}
