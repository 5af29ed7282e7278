internal import EventLoop
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import Platform

/// Templates: a PUT makes the next version, which never changes.
@LoopActor
struct TemplateRoutes {
    let repository: TemplateRepository

    var routes: [Route] { [put, find, preview] }

    private var put: Route {
        Route(
            .put,
            "/v1/templates/{code}",
            access: .role(.admin),
            summary: "Make the next version of a template",
            description: "Places are written `{{name}}`. Messages keep the version that they were "
                + "accepted with.",
            tag: "Templates",
            bodyLimit: 1 << 20,
            requestSchema: Schemas.object([
                "text": [
                    "type": ["string", "null"], "minLength": 1,
                    "maxLength": .int(Int64(MessageRequestBody.textMax)),
                ],
                "blocks": ["type": ["array", "null"], "items": Schemas.free],
            ]),
            responses: [
                200: RouteResponse("Its next version.", schema: Schemas.reference("Template")),
                201: RouteResponse("Its first version.", schema: Schemas.reference("Template")),
            ],
            handler: { request in
                let tenant = try Tenant(request)
                let code = try request.code()
                let answer = try await repository.put(
                    tenant,
                    code,
                    try TemplateRoutes.template(request),
                    AuditNote(request)
                )
                guard let template = answer["template"] else {
                    throw UnexpectedAnswer(function: "dispatch.put_template")
                }
                return .json(answer["created"] == true ? 201 : 200, template)
            }
        )
    }

    private static func template(_ request: Request) throws -> Template {
        let (text, blocks) = try request.read { fields in
            let text = fields.optionalString("text", length: 1...MessageRequestBody.textMax)
            let blocks = fields.optionalJSON("blocks")
            if let blocks, blocks.arrayValue == nil { fields.fault("blocks", "must be an array") }
            if text == nil, blocks == nil, !fields.has("text") {
                fields.fault("text", "is needed unless there are blocks")
            }
            return (text, blocks)
        }
        if let index = blocks?.arrayValue?.firstIndex(where: { $0.objectValue == nil }) {
            throw Problem.invalid("/blocks/\(index)", "must be an object")
        }
        do {
            return try Template(text: text, blocks: blocks)
        } catch {
            throw Problem.invalid(error.pointer, error.detail)
        }
    }

    private var find: Route {
        Route(
            .get,
            "/v1/templates/{code}",
            access: .role(.viewer),
            summary: "A template, its newest version unless one is named",
            tag: "Templates",
            queryParameters: [
                QueryParameter("version", "Which one.", schema: ["type": "integer", "minimum": 1])
            ],
            responses: [200: RouteResponse("It.", schema: Schemas.reference("Template"))],
            handler: { request in
                guard
                    let found = try await repository.find(
                        try Tenant(request),
                        request.parameters["code"],
                        version: try request.query.int("version", in: 1...1_000_000)
                    )
                else { throw Problem.notFound }
                return .json(200, found)
            }
        )
    }

    private var preview: Route {
        Route(
            .post,
            "/v1/templates/{code}/preview",
            access: .role(.viewer),
            summary: "What a template says with these values",
            tag: "Templates",
            requestSchema: Schemas.object([
                "variables": Schemas.free, "version": Schemas.integer(1...1_000_000),
            ]),
            responses: [
                200: RouteResponse("The message.", schema: Schemas.reference("Preview"))
            ],
            handler: { request in
                let (values, version) = try request.readOptional {
                    (
                        $0.optionalJSONObject("variables") ?? [:],
                        $0.optionalInt("version", in: 1...1_000_000)
                    )
                }
                let rendered = try await RenderedTemplate.make(
                    repository,
                    try Tenant(request),
                    request.parameters["code"],
                    version: version,
                    values
                )
                guard let rendered else { throw Problem.notFound }
                return .json(
                    200,
                    [
                        "code": .string(rendered.code), "version": .int(Int64(rendered.version)),
                        "text": JSON(rendered.text), "blocks": rendered.blocks ?? .null,
                    ]
                )
            }
        )
    }
}

/// A version of a template filled with values, within Slack's limits.
struct RenderedTemplate: Sendable {
    let code: String
    let version: Int
    let text: String?
    let blocks: JSON?

    /// Fills a template; nil when there is none.
    ///
    /// - Throws: a 422 that names each value that is missing, too much or of the wrong kind, and
    ///   what of the message Slack would not take.
    @LoopActor
    static func make(
        _ repository: TemplateRepository,
        _ tenant: Tenant,
        _ code: String,
        version: Int? = nil,
        _ values: JSONObject
    ) async throws -> RenderedTemplate? {
        guard let stored = try await repository.find(tenant, code, version: version) else {
            return nil
        }
        let template = try Template(
            text: stored["text"]?.stringValue,
            blocks: stored["blocks"].flatMap(\.present)
        )
        switch template.render(values) {
        case .failure(let invalid): throw Problem.invalid(invalid.faults)
        case .success(let rendering):
            var faults = rendering.blocks.map(SlackLimits.faults) ?? []
            let length = rendering.text?.unicodeScalars.count ?? 0
            if length > MessageRequestBody.textMax {
                faults.append(.init(pointer: "/variables", detail: "make a text that is too long"))
            }
            guard faults.isEmpty else { throw Problem.invalid(faults) }
            return RenderedTemplate(
                code: code,
                version: Int(stored["version"]?.intValue ?? 0),
                text: rendering.text,
                blocks: rendering.blocks
            )
        }
    }
}
