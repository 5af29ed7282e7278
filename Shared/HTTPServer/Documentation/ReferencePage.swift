internal import JSON

/// The page that `/docs` shows: one file, no scripts, nothing loaded from elsewhere.
struct ReferencePage {
    let document: OpenAPIDocument

    static let style = """
        :root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
        body{max-width:60rem;margin:0 auto;padding:1rem}
        h1 small,.muted{opacity:.7;font-weight:normal}
        code,pre{font-family:ui-monospace,monospace;font-size:.9em}
        article{border-top:1px solid #8886;padding:.5rem 0}
        h3{margin:.5rem 0}
        .method{display:inline-block;min-width:4.5em;font-weight:bold}
        table{border-collapse:collapse;width:100%;font-size:.9em}
        td,th{border:1px solid #8886;padding:.2rem .5rem;text-align:left;vertical-align:top}
        nav ul{columns:2 20rem;padding-left:1rem}
        """

    var html: String {
        var html = """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8">
            <meta name="viewport" content="width=device-width,initial-scale=1">
            <title>\(escape(document.title))</title>
            <style>\(ReferencePage.style)</style></head><body>
            <h1>\(escape(document.title)) <small>\(escape(document.version))</small></h1>
            <p>For programs: <a href="openapi.json">OpenAPI 3.1</a>. Errors are
            <code>application/problem+json</code> with a stable <code>code</code>.</p>

            """
        html += contents
        for tag in groups {
            html += "<h2>\(escape(tag.isEmpty ? "Other" : tag))</h2>\n"
            for route in document.routes where route.tag == tag { html += article(route) }
        }
        return html + "</body></html>\n"
    }

    private var groups: [String] {
        document.tags + (document.routes.contains { $0.tag.isEmpty } ? [""] : [])
    }

    private var contents: String {
        let items = document.routes.map { route in
            "<li><a href=\"#\(anchor(route))\"><code>\(route.method.name) "
                + "\(escape(route.pattern))</code></a></li>"
        }
        return "<nav><ul>\(items.joined())</ul></nav>\n"
    }

    private func anchor(_ route: Route) -> String {
        escape(route.method.name.lowercased() + route.pattern)
    }

    // MARK: One operation

    private func article(_ route: Route) -> String {
        var html = """
            <article id="\(anchor(route))"><h3><code><span class="method">\(route.method.name)</span>
            \(escape(route.pattern))</code></h3>
            <p>\(escape(route.summary)). <span class="muted">\(access(route.access))</span></p>

            """
        if !route.description.isEmpty { html += "<p>\(escape(route.description))</p>\n" }
        if case .none = route.idempotency {
        } else {
            html +=
                "<p>Takes <code>\(IdempotencyKey.fieldName)</code>. "
                + "\(escape(IdempotencyKey.summary))</p>\n"
        }
        let query = route.queryParameters.map { parameter in
            let name = parameter.name + (parameter.isRequired ? " *" : "")
            return [name, typeName(parameter.schema), parameter.description]
        }
        html += table(["Query", "Type", "Meaning"], query)
        if let schema = route.requestSchema {
            html += table(["Body", "Type", "Meaning"], rows(schema))
        }
        let responses = route.responses.sorted { $0.key < $1.key }
        html += table(
            ["Status", "When"],
            responses.map { [String($0.key), $0.value.description] }
        )
        for (status, response) in responses {
            guard let schema = response.schema else { continue }
            html += table(["\(status) body", "Type", "Meaning"], rows(schema))
        }
        return html + "</article>\n"
    }

    private func access(_ access: RouteAccess) -> String {
        switch access {
        case .open: "No key needed."
        case .role(let role): "Role: \(role)."
        case .roleOrService(let role): "Role: \(role), or a service."
        case .service: "Services only."
        case .custom: "Signed by its sender."
        }
    }

    private func table(_ head: [String], _ rows: [[String]]) -> String {
        guard !rows.isEmpty else { return "" }
        let header = head.map { "<th>\(escape($0))</th>" }.joined()
        let body = rows.map { row in
            let cells = row.enumerated().map { column, text in
                column == 0 ? "<td><code>\(escape(text))</code></td>" : "<td>\(escape(text))</td>"
            }
            return "<tr>\(cells.joined())</tr>"
        }
        return "<table><tr>\(header)</tr>\(body.joined())</table>\n"
    }

    // MARK: Schemas

    /// How deep nested members are listed.
    private static let depthMax = 6

    /// Name, type and meaning of every member, nested ones with their path.
    private func rows(_ schema: JSON, prefix: String = "", depth: Int = 0) -> [[String]] {
        guard depth < ReferencePage.depthMax else { return [] }
        let schema = resolved(schema)
        if let items = schema["items"] {
            return rows(items, prefix: prefix + "[]", depth: depth + 1)
        }
        let required = (schema["required"]?.arrayValue ?? []).compactMap(\.stringValue)
        return (schema["properties"]?.objectValue?.members ?? []).flatMap { name, member in
            let path = prefix.isEmpty ? name : "\(prefix).\(name)"
            let mark = required.contains(name) ? " *" : ""
            let meaning =
                resolved(member)["description"]?.stringValue
                ?? document.glossary.meanings[name] ?? ""
            return [[path + mark, typeName(member), meaning]]
                + rows(member, prefix: path, depth: depth + 1)
        }
    }

    private func resolved(_ schema: JSON) -> JSON {
        let prefix = "#/components/schemas/"
        guard let reference = schema["$ref"]?.stringValue, reference.hasPrefix(prefix) else {
            return schema
        }
        return document.schemas[String(reference.dropFirst(prefix.count))] ?? schema
    }

    private func typeName(_ schema: JSON) -> String {
        let schema = resolved(schema)
        if let values = schema["enum"]?.arrayValue {
            return values.map { $0.stringValue ?? $0.text }.joined(separator: " | ")
        }
        var name = schema["type"]?.stringValue ?? "any"
        if let names = schema["type"]?.arrayValue {
            name = names.compactMap(\.stringValue).joined(separator: " | ")
        }
        if let format = schema["format"]?.stringValue { name += " (\(format))" }
        if let items = schema["items"] { name += " of \(typeName(items))" }
        return name
    }

    private func escape(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}
