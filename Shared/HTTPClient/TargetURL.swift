internal import CLibCurl

/// A URL as curl reads it: its parts, and the one spelling that is handed back to curl.
///
/// Check and transfer use the same parser, so there is no URL that the two read differently.
struct TargetURL: Hashable {
    /// Longest URL that is sent, in bytes.
    static let lengthLimit = 8192

    let text: String
    let scheme: String
    /// A name, a dotted IPv4 address whatever its spelling was, or an IPv6 address in brackets.
    let host: String
    let port: Int

    /// Which peers share the limit per host.
    var origin: String { "\(scheme)://\(host):\(port)" }

    init(_ text: String) throws(HTTPClientError) {
        guard text.utf8.count <= TargetURL.lengthLimit else {
            throw HTTPClientError(.badURL, "the URL is over \(TargetURL.lengthLimit) bytes")
        }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw HTTPClientError(.badURL, "the URL holds bytes that are not visible ASCII")
        }
        // Curl would also take one slash, or three.
        guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://"),
            !text[colon...].hasPrefix(":///")
        else { throw HTTPClientError(.badURL, "the URL does not name a host") }
        guard let parts = curl_url() else { throw HTTPClientError(.failed, "no memory") }
        defer { curl_url_cleanup(parts) }
        let flags = UInt32(CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME)
        let result = curl_url_set(parts, CURLUPART_URL, text, flags)
        guard result == CURLUE_OK else {
            throw HTTPClientError(.badURL, String(cString: curl_url_strerror(result)))
        }
        guard let scheme = TargetURL.part(CURLUPART_SCHEME, of: parts),
            scheme == "https" || scheme == "http"
        else { throw HTTPClientError(.badURL, "only http and https URLs are requested") }
        guard let host = TargetURL.part(CURLUPART_HOST, of: parts), !host.isEmpty,
            let port = TargetURL.part(CURLUPART_PORT, of: parts).flatMap({ Int($0) }),
            let normal = TargetURL.part(CURLUPART_URL, of: parts)
        else { throw HTTPClientError(.badURL, "the URL has no host") }
        self.text = normal
        self.scheme = scheme
        self.host = host.lowercased()
        self.port = port
    }

    private static func part(_ part: CURLUPart, of parts: OpaquePointer) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        let flags = part == CURLUPART_PORT ? UInt32(CURLU_DEFAULT_PORT) : 0
        guard curl_url_get(parts, part, &text, flags) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }
}
