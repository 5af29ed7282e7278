internal import Crypto
internal import FoundationEssentials
internal import JSON

/// `/openapi.json` and `/docs`.
enum DocumentationRoutes {
    /// The two routes, which describe themselves as well.
    static func routes(
        for routes: [Route],
        schemas: JSONObject,
        meanings: [String: String],
        _ title: String,
        _ version: String,
        _ access: RouteAccess
    ) -> [Route] {
        let described = routes + pair(access, document: [], page: [], policy: "")
        let document = OpenAPIDocument(
            title: title,
            version: version,
            routes: described,
            schemas: schemas,
            glossary: Glossary(meanings: meanings)
        )
        let page = ReferencePage(document: document)
        let hash = SHA256.hash(data: Data(ReferencePage.style.utf8))
        let style = "'sha256-\(Data(hash).base64EncodedString())'"
        return pair(
            access,
            document: document.json.serialized(),
            page: Array(page.html.utf8),
            policy: "default-src 'none'; style-src \(style); base-uri 'none'; "
                + "form-action 'none'; frame-ancestors 'none'"
        )
    }

    private static func pair(
        _ access: RouteAccess,
        document: [UInt8],
        page: [UInt8],
        policy: String
    ) -> [Route] {
        let html = "text/html; charset=utf-8"
        return [
            Route(
                .get,
                "/openapi.json",
                access: access,
                summary: "This interface as an OpenAPI 3.1 document",
                tag: "Operations",
                responses: [200: RouteResponse("The document.", schema: ["type": "object"])]
            ) { _ in .json(bytes: document) },
            Route(
                .get,
                "/docs",
                access: access,
                summary: "This interface as a page to read",
                tag: "Operations",
                responses: [200: RouteResponse("The page.", contentType: "text/html")]
            ) { _ in
                var response = Response(contentType: html, body: .bytes(page))
                response.setField("Content-Security-Policy", policy)
                response.setField("Referrer-Policy", "no-referrer")
                return response
            },
        ]
    }
}
