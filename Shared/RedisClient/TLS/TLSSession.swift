internal import COpenSSL
internal import EventLoop

/// The TLS side of one connection: bytes in, bytes out, and no socket.
///
/// OpenSSL reads and writes memory, so that it never waits: what the peer sent goes in whole, what
/// it has to say comes out whole, and the connection moves both.
final class TLSSession {
    /// What one record holds at most (RFC 8446, 5.1).
    private static let recordSize = 16 * 1024

    private let session: OpaquePointer
    /// From the peer; owned by the session.
    private let incoming: OpaquePointer
    /// To the peer; owned by the session.
    private let outgoing: OpaquePointer
    private let plain: UnsafeMutableRawBufferPointer
    private let host: String

    /// A client's side, to a server whose certificate must be for its host, a name or an address.
    ///
    /// - Throws: ``RedisError`` when there is no memory, or no certificate can be for the server.
    init(
        _ tls: RedisTLS,
        with server: RedisConfiguration.Endpoint
    ) throws(RedisError) {
        guard case .tcp(let host, _) = server else {
            throw RedisError(.notConnected, message: "TLS needs a host, and \(server) has none")
        }
        guard let session = SSL_new(tls.context.pointer), let incoming = BIO_new(BIO_s_mem()),
            let outgoing = BIO_new(BIO_s_mem())
        else { throw RedisError(.notConnected, message: "OpenSSL had no memory for a session") }
        self.session = session
        self.incoming = incoming
        self.outgoing = outgoing
        self.host = host
        plain = .allocate(byteCount: TLSSession.recordSize, alignment: 16)
        SSL_set_bio(session, incoming, outgoing)
        SSL_set_connect_state(session)
        guard expect(host) else {
            throw RedisError(.notConnected, message: "no certificate can be for '\(host)'")
        }
    }

    deinit {
        SSL_free(session)
        plain.deallocate()
    }

    private func expect(_ host: String) -> Bool {
        guard HostResolver.isNumeric(host) else {
            SSL_set_hostflags(session, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            return SSL_set1_host(session, host) == 1
                && switchboard_tls_set_server_name(session, host) == 1
        }
        // An address is no server name (RFC 6066, 3).
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host) == 1
    }

    // MARK: The peer's side

    /// Takes bytes as they came.
    func receive(_ bytes: UnsafeRawBufferPointer) {
        // Memory takes all; that there is none left shows as a broken record.
        _ = BIO_write(incoming, bytes.baseAddress, Int32(bytes.count))
    }

    /// Moves what is to be sent to `output`.
    func moveOutput(to output: inout OutputBuffer) {
        let count = BIO_ctrl_pending(outgoing)
        guard count > 0 else { return }
        output.append(upTo: count) { Int(max(0, BIO_read(outgoing, $0, Int32(count)))) }
    }

    // MARK: The client's side

    /// Goes on with the handshake as far as the bytes reach.
    ///
    /// - Returns: whether it is done, and the server is who it should be.
    /// - Throws: ``RedisError`` with the reason; what is to be sent tells the peer.
    func shakeHands() throws(RedisError) -> Bool {
        ERR_clear_error()
        let result = SSL_do_handshake(session)
        if result == 1 { return true }
        if SSL_get_error(session, result) == SSL_ERROR_WANT_READ { return false }
        throw RedisError(.notConnected, message: handshakeFailure)
    }

    /// Hands out all that can be deciphered.
    ///
    /// - Returns: whether more may come: the peer has not said goodbye.
    /// - Throws: ``RedisError`` with the reason why nothing more can be read.
    func read(_ body: (UnsafeRawBufferPointer) -> Void) throws(RedisError) -> Bool {
        while true {
            ERR_clear_error()
            let count = SSL_read(session, plain.baseAddress, Int32(plain.count))
            if count > 0 {
                body(UnsafeRawBufferPointer(rebasing: plain[..<Int(count)]))
                continue
            }
            switch SSL_get_error(session, count) {
            case SSL_ERROR_WANT_READ: return true
            case SSL_ERROR_ZERO_RETURN: return false
            default: throw RedisError(.connectionLost, message: "TLS: \(reason)")
            }
        }
    }

    /// Enciphers bytes.
    ///
    /// - Throws: ``RedisError`` with the reason why nothing more can be written.
    func write(_ bytes: UnsafeRawBufferPointer) throws(RedisError) {
        ERR_clear_error()
        let count = SSL_write(session, bytes.baseAddress, Int32(bytes.count))
        guard count == bytes.count else {
            throw RedisError(.connectionLost, message: "TLS: \(reason)")
        }
    }

    /// Says goodbye; nothing is written after it.
    func close() {
        ERR_clear_error()
        _ = SSL_shutdown(session)
    }

    // MARK: Reasons

    private var handshakeFailure: String {
        let verdict = SSL_get_verify_result(session)
        if verdict != X509_V_OK {
            let words = String(cString: X509_verify_cert_error_string(verdict))
            return "the certificate of \(host) is refused: \(words)"
        }
        switch switchboard_tls_reason(ERR_peek_error()) {
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_PACKET_LENGTH_TOO_LONG, SSL_R_HTTP_REQUEST:
            return "the server speaks no TLS: \(reason)"
        default: return "the TLS handshake failed: \(reason)"
        }
    }

    private var reason: String {
        let error = ERR_peek_error()
        guard let words = ERR_reason_error_string(error) else { return "no reason given" }
        let text = String(cString: words)
        guard switchboard_tls_reason(error) == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED else {
            return text
        }
        return "\(text); \(RedisTLS.certificateVariable) and \(RedisTLS.keyVariable) name one"
    }
}
