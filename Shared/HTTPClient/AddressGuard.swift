/// Keeps requests to places that a tenant chose away from our own network.
///
/// The URL is checked here; every address is checked once more when its socket is opened and before
/// a request goes out on a connection, so a name that changes its address gains nothing.
public enum AddressGuard {
    /// Schemes and ports that a guarded URL may name.
    package struct Rules: Sendable {
        /// https only.
        package var schemes: Set<String> = ["https"]
        /// 443 only.
        package var ports: Set<Int> = [443]

        package init() {}
    }

    /// Why a configured URL would be refused; `nil` when it may be stored.
    ///
    /// Names are not resolved here: one that resolves to a forbidden address is refused at the send.
    public static func refusal(of url: String, allowHosts: AllowedHosts) -> HTTPClientError? {
        do {
            try check(TargetURL(url), allowHosts, Rules())
            return nil
        } catch {
            return error
        }
    }

    static func check(
        _ url: TargetURL,
        _ allowHosts: AllowedHosts,
        _ rules: Rules
    ) throws(HTTPClientError) {
        if allowHosts.allows(host: url.host, port: url.port) { return }
        guard rules.schemes.contains(url.scheme) else {
            throw HTTPClientError(.refusedAddress, "\(url.host): \(url.scheme) is not allowed")
        }
        guard rules.ports.contains(url.port) else {
            throw HTTPClientError(.refusedAddress, "\(url.host): port \(url.port) is not allowed")
        }
        let bare = url.host.hasPrefix("[") ? String(url.host.dropFirst().dropLast()) : url.host
        if let address = IPAddress(bare), !address.isPublic {
            throw HTTPClientError(.refusedAddress, "\(url.host) is not a public address")
        }
    }
}
