internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import HTTPClient
internal import HTTPServer
internal import JSON
internal import Platform

/// Workspaces and their tokens.
@LoopActor
struct WorkspaceRoutes {
    let repository: ConfigurationRepository
    let slack: SlackApiService
    let allowedHosts: AllowedHosts
    /// Called after a change: what waited for it can be sent.
    let committed: @LoopActor () -> Void

    var routes: [Route] { [put, find] }

    private var put: Route {
        Route(
            .put,
            "/v1/workspaces/{code}",
            access: .role(.admin),
            summary: "Make or change a workspace",
            description: "Its secrets are sealed at rest and read back as `***`; one that is not "
                + "named keeps its value. A workspace that was paused goes on. Events that are "
                + "signed with the installation's secret come in only once `team_verified` is "
                + "true: when Slack has said that the token is of the team.",
            tag: "Configuration",
            requestSchema: JSONFields.schema(draft),
            responses: [
                200: RouteResponse("It was changed.", schema: Schemas.reference("Workspace")),
                201: RouteResponse("It was made.", schema: Schemas.reference("Workspace")),
            ],
            handler: { request in
                let tenant = try Tenant(request)
                let code = try request.code()
                var draft = try request.read(draft)
                try await identify(tenant, code, &draft)
                let answer = try await repository.put(
                    tenant,
                    workspace: code,
                    draft,
                    AuditNote(request)
                )
                guard let workspace = answer["workspace"] else {
                    throw UnexpectedAnswer(function: "dispatch.put_workspace")
                }
                committed()
                return .json(answer["created"] == true ? 201 : 200, workspace)
            }
        )
    }

    private func draft(_ fields: inout JSONFields) -> WorkspaceDraft {
        WorkspaceDraft(
            provider: fields.choice("provider", of: Provider.self),
            teamID: fields.optionalString("team_id", length: 1...64),
            appID: fields.optionalString("api_app_id", length: 1...64),
            baseURL: baseURL(&fields),
            token: secret(&fields, "token"),
            signingSecret: secret(&fields, "signing_secret")
        )
    }

    /// Asks whose a Slack token is: of the team that was named, or is known already.
    ///
    /// A Slack that is not reached leaves what was named: the first message will tell.
    private func identify(
        _ tenant: Tenant,
        _ code: String,
        _ draft: inout WorkspaceDraft
    ) async throws {
        guard draft.provider == .slack, let token = draft.token else { return }
        let identity = await slack.identify(token, baseURL: draft.baseURL)
        switch identity {
        case .unreachable: break
        case .refused(let reason): throw Problem.invalid("/token", "is refused by Slack: \(reason)")
        case .known(let team):
            let known = try await repository.workspace(tenant, code)?["team_id"]?.stringValue
            let wanted = draft.teamID ?? known ?? team
            guard wanted == team else {
                throw Problem.invalid("/token", "belongs to team \(team), not to \(wanted)")
            }
            draft.teamID = team
        }
        let proof = slack.isSlack(draft.baseURL) ? identity : await slack.identify(token)
        if case .known(let team) = proof { draft.provenTeamID = team }
    }

    private func secret(_ fields: inout JSONFields, _ name: String) -> Secret? {
        fields.optionalString(name, length: 1...500, pattern: .visible).map(Secret.init)
    }

    private func baseURL(_ fields: inout JSONFields) -> String? {
        let url = fields.optionalString("api_base_url", length: 1...500)
        if let url, let refusal = AddressGuard.refusal(of: url, allowHosts: allowedHosts) {
            fields.fault("api_base_url", "\(refusal.message)")
        }
        return url
    }

    private var find: Route {
        Route(
            .get,
            "/v1/workspaces/{code}",
            access: .role(.admin),
            summary: "A workspace",
            tag: "Configuration",
            responses: [200: RouteResponse("It.", schema: Schemas.reference("Workspace"))],
            handler: { request in
                guard
                    let found = try await repository.workspace(
                        try Tenant(request),
                        request.parameters["code"]
                    )
                else { throw Problem.notFound }
                return .json(200, found)
            }
        )
    }
}

extension TextPattern {
    /// What may stand in a header field: no spaces, no control characters.
    static let visible = TextPattern(
        "must be visible ASCII characters without spaces",
        expression: "^[!-~]*$"
    ) { text in
        text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }
}

extension Request {
    /// The code in the path of a resource that is put.
    func code() throws(Problem) -> String {
        let code = parameters["code"]
        guard TextPattern.code.matches(code) else {
            throw .invalid("/path/code", "must match [a-z0-9][a-z0-9_.-]{0,62}")
        }
        return code
    }
}
