internal import JSON
public import Tracing

/// Steps as OpenTelemetry's collectors read them: OTLP 1, `ExportTraceServiceRequest` in JSON.
///
/// Ids are hexadecimal there and 64-bit numbers are text.
public enum OTLPDocument {
    /// The document of `spans`, which all belong to one process.
    ///
    /// - Parameter resource: what is known about the process, such as `service.name`.
    public static func bytes(
        _ spans: [EndedSpan],
        resource: [(name: String, value: Span.Value)]
    ) -> [UInt8] {
        var writer = JSONWriter(capacity: 256 + 512 * spans.count)
        writer.beginObject()
        writer.key("resourceSpans")
        writer.beginArray()
        writer.beginObject()
        writer.key("resource")
        writer.beginObject()
        write(resource, to: &writer)
        writer.endObject()
        writer.key("scopeSpans")
        writer.beginArray()
        writer.beginObject()
        writer.key("scope")
        writer.beginObject()
        writer.member("name", "switchboard")
        writer.endObject()
        writer.key("spans")
        writer.beginArray()
        for span in spans { write(span, to: &writer) }
        writer.endArray()
        writer.endObject()
        writer.endArray()
        writer.endObject()
        writer.endArray()
        writer.endObject()
        return writer.bytes
    }

    private static func write(_ span: EndedSpan, to writer: inout JSONWriter) {
        writer.beginObject()
        writer.member("traceId", span.place.traceID)
        writer.member("spanId", span.place.spanID)
        if let parent = span.place.parentID { writer.member("parentSpanId", parent) }
        writer.member("name", span.name)
        writer.member("kind", span.kind.rawValue)
        writer.member("startTimeUnixNano", String(span.began))
        writer.member("endTimeUnixNano", String(span.ended))
        write(span.attributes, to: &writer)
        if let fault = span.fault {
            writer.key("status")
            writer.beginObject()
            writer.member("code", 2)
            writer.member("message", fault)
            writer.endObject()
        }
        writer.endObject()
    }

    private static func write(
        _ attributes: [(name: String, value: Span.Value)],
        to writer: inout JSONWriter
    ) {
        guard !attributes.isEmpty else { return }
        writer.key("attributes")
        writer.beginArray()
        for (name, value) in attributes {
            writer.beginObject()
            writer.member("key", name)
            writer.key("value")
            writer.beginObject()
            switch value {
            case .text(let text): writer.member("stringValue", text)
            case .int(let number): writer.member("intValue", String(number))
            }
            writer.endObject()
            writer.endObject()
        }
        writer.endArray()
    }
}
