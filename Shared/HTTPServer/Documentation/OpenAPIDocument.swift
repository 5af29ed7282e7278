internal import JSON

/// The OpenAPI 3.1 document of a table of routes.
struct OpenAPIDocument {
    let title: String
    let version: String
    let routes: [Route]
    /// Schemas that routes refer to as `#/components/schemas/<name>`.
    var schemas = JSONObject()
    /// What fields and parameters mean whose own place does not say it.
    var glossary = Glossary(meanings: [:])

    var json: JSON {
        [
            "openapi": "3.1.0",
            "info": ["title": .string(title), "version": .string(version)],
            "servers": [["url": "/"]],
            "tags": .array(tags.map { ["name": .string($0)] }),
            "paths": glossary.describe(.object(paths)),
            "components": glossary.describe(.object(components)),
        ]
    }

    /// The groups of the table, in its order.
    var tags: [String] {
        var seen: [String] = []
        for route in routes where !route.tag.isEmpty && !seen.contains(route.tag) {
            seen.append(route.tag)
        }
        return seen
    }

    private var paths: JSONObject {
        var paths = JSONObject()
        for route in routes {
            var item = paths[route.pattern]?.objectValue ?? JSONObject()
            item[route.method.name.lowercased()] = operation(route)
            paths[route.pattern] = .object(item)
        }
        return paths
    }

    private var components: JSONObject {
        var all = schemas
        all["Problem"] = Problem.schema
        return [
            "schemas": .object(all),
            "responses": ["Problem": OpenAPIDocument.problem("The request failed.")],
            "securitySchemes": [
                "key": [
                    "type": "http", "scheme": "bearer",
                    "description": "A key of a tenant, `sb_<key id>_<secret>`.",
                ],
                "service": [
                    "type": "http", "scheme": "bearer",
                    "description":
                        "The token of our services, with `Switchboard-Tenant: <tenant>`.",
                ],
            ],
        ]
    }

    // MARK: One operation

    private func operation(_ route: Route) -> JSON {
        var operation: JSONObject = [
            "operationId": .string(OpenAPIDocument.operationID(route)),
            "summary": .string(route.summary),
        ]
        if !route.description.isEmpty { operation["description"] = .string(route.description) }
        if !route.tag.isEmpty { operation["tags"] = [.string(route.tag)] }
        let parameters = parameters(route)
        if !parameters.isEmpty { operation["parameters"] = .array(parameters) }
        if let body = requestBody(route) { operation["requestBody"] = body }
        operation["responses"] = .object(responses(route))
        operation["security"] = security(route.access)
        switch route.access {
        case .role(let role), .roleOrService(let role):
            operation["x-required-role"] = .string(role.description)
        case .open, .custom, .service: break
        }
        return .object(operation)
    }

    /// `POST /v1/threads/{id}/archive` becomes `post_v1_threads_id_archive`.
    private static func operationID(_ route: Route) -> String {
        let words = route.pattern.split { !$0.isLetter && !$0.isNumber }
        return ([route.method.name.lowercased()] + words.map(String.init)).joined(separator: "_")
    }

    private func parameters(_ route: Route) -> [JSON] {
        var parameters: [JSON] = route.parameterNames.map { name in
            var parameter: JSONObject = [
                "name": .string(name), "in": "path", "required": true,
                "schema": ["type": "string"],
            ]
            parameter["description"] = glossary.meanings["{\(name)}"].map { .string($0) }
            return .object(parameter)
        }
        for query in route.queryParameters {
            parameters.append([
                "name": .string(query.name), "in": "query",
                "description": .string(query.description),
                "required": .bool(query.isRequired), "schema": query.schema,
            ])
        }
        if case .none = route.idempotency { return parameters }
        parameters.append([
            "name": .string(IdempotencyKey.fieldName), "in": "header", "required": false,
            "description": .string(IdempotencyKey.summary),
            "schema": [
                "type": "string", "minLength": 1,
                "maxLength": .int(Int64(IdempotencyKey.lengthMax)),
            ],
        ])
        return parameters
    }

    private func requestBody(_ route: Route) -> JSON? {
        if route.requestContentTypes.isEmpty {
            guard let schema = route.requestSchema else { return nil }
            return [
                "required": .bool(route.requiresBody),
                "content": ["application/json": ["schema": schema]],
            ]
        }
        var content = JSONObject()
        for type in route.requestContentTypes {
            content[type] = ["schema": route.requestSchema ?? [:]]
        }
        return ["required": .bool(route.requiresBody), "content": .object(content)]
    }

    private func responses(_ route: Route) -> JSONObject {
        var responses = JSONObject()
        for (status, response) in route.responses.sorted(by: { $0.key < $1.key }) {
            var entry: JSONObject = ["description": .string(response.description)]
            let isJSON = response.contentType == "application/json"
            let hasBody =
                !ResponseSerializer.isBodiless(status) && (response.schema != nil || !isJSON)
            if status >= 400 && response.schema == nil {
                responses[String(status)] = OpenAPIDocument.problem(response.description)
                continue
            }
            if hasBody {
                let schema = response.schema ?? ["type": "string"]
                entry["content"] = .object([response.contentType: ["schema": schema]])
            }
            responses[String(status)] = .object(entry)
        }
        for (status, text) in OpenAPIDocument.usualProblems(route)
        where responses[String(status)] == nil {
            responses[String(status)] = OpenAPIDocument.problem(text)
        }
        responses["default"] = ["$ref": "#/components/responses/Problem"]
        return responses
    }

    /// What the server itself may answer on the route.
    private static func usualProblems(_ route: Route) -> [(Int, String)] {
        var problems = [(400, "The request could not be read.")]
        switch route.access {
        case .open: break
        case .custom: problems.append((401, "The signature is missing or wrong."))
        case .role, .roleOrService, .service:
            problems.append((401, "The key is missing or wrong."))
            problems.append((403, "The key may not do this."))
        }
        if !route.parameterNames.isEmpty { problems.append((404, "There is no such resource.")) }
        if case .none = route.idempotency {
        } else {
            problems.append((409, "The state forbids it, or the first request still runs."))
        }
        if route.requestSchema != nil || !route.requestContentTypes.isEmpty {
            if route.requiresBody { problems.append((411, "The length is missing.")) }
            problems.append((413, "The body is over \(route.bodyLimit) bytes."))
            problems.append((415, "The body has another media type."))
        }
        problems.append((422, "Well-formed, but not acceptable."))
        problems.append((500, "Our fault."))
        problems.append((503, "Something that this needs is away."))
        return problems
    }

    private static func problem(_ description: String) -> JSON {
        [
            "description": .string(description),
            "content": [
                "application/problem+json": ["schema": ["$ref": "#/components/schemas/Problem"]]
            ],
        ]
    }

    private func security(_ access: RouteAccess) -> JSON {
        switch access {
        case .open, .custom: []
        case .role: [["key": []]]
        case .roleOrService: [["key": []], ["service": []]]
        case .service: [["service": []]]
        }
    }
}
