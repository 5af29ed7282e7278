internal import COpenSSL
internal import Glibc

/// What OpenSSL made of the files: what sessions are begun with.
final class TLSContext: Sendable {
    /// OpenSSL counts its references by itself, and nothing changes it once it is made.
    nonisolated(unsafe) let pointer: OpaquePointer

    /// Reads the files.
    ///
    /// - Throws: an error that names the variable whose file is missing, unreadable or wrong.
    init(_ files: RedisTLS.Files) throws(RedisConfigurationError) {
        guard let made = SSL_CTX_new(TLS_client_method()), switchboard_tls_set_terms(made) == 1
        else {
            throw RedisConfigurationError(variable: "REDIS_URL", message: "OpenSSL has no TLS 1.2")
        }
        pointer = made
        SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, nil)
        try trust(files.authorities)
        switch (files.certificate, files.key) {
        case (nil, nil): break
        case (let certificate?, let key?): try introduce(certificate, key)
        case (_?, nil): throw TLSContext.partner(RedisTLS.certificateVariable, RedisTLS.keyVariable)
        case (nil, _?): throw TLSContext.partner(RedisTLS.keyVariable, RedisTLS.certificateVariable)
        }
    }

    deinit { SSL_CTX_free(pointer) }

    private func trust(_ authorities: String?) throws(RedisConfigurationError) {
        guard let authorities else {
            guard SSL_CTX_set_default_verify_paths(pointer) == 1 else {
                throw RedisConfigurationError(
                    variable: RedisTLS.authoritiesVariable,
                    message: "is not set, and the system has no list of authorities"
                )
            }
            return
        }
        try TLSContext.check(authorities, RedisTLS.authoritiesVariable)
        guard SSL_CTX_load_verify_locations(pointer, authorities, nil) == 1 else {
            throw TLSContext.refusal(
                RedisTLS.authoritiesVariable,
                authorities,
                "holds no certificate in PEM"
            )
        }
    }

    private func introduce(
        _ certificate: String,
        _ key: String
    ) throws(RedisConfigurationError) {
        try TLSContext.check(certificate, RedisTLS.certificateVariable)
        try TLSContext.check(key, RedisTLS.keyVariable)
        // OpenSSL would ask for a passphrase on the terminal.
        SSL_CTX_set_default_passwd_cb(pointer) { _, _, _, _ in -1 }
        guard SSL_CTX_use_PrivateKey_file(pointer, key, SSL_FILETYPE_PEM) == 1 else {
            throw TLSContext.refusal(
                RedisTLS.keyVariable,
                key,
                "holds no key in PEM without a passphrase"
            )
        }
        guard SSL_CTX_use_certificate_chain_file(pointer, certificate) == 1 else {
            throw TLSContext.refusal(
                RedisTLS.certificateVariable,
                certificate,
                "holds no certificate in PEM"
            )
        }
        guard SSL_CTX_check_private_key(pointer) == 1 else {
            throw TLSContext.refusal(
                RedisTLS.keyVariable,
                key,
                "is not the key of the certificate in \(RedisTLS.certificateVariable)"
            )
        }
    }

    private static func check(
        _ path: String,
        _ variable: String
    ) throws(RedisConfigurationError) {
        guard let file = fopen(path, "re") else {
            throw refusal(variable, path, "cannot be opened: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        // A folder can be opened and not read.
        if getc(file) == EOF {
            let words = ferror(file) == 0 ? "it is empty" : String(cString: strerror(errno))
            throw refusal(variable, path, "cannot be read: \(words)")
        }
    }

    private static func refusal(
        _ variable: String,
        _ path: String,
        _ words: String
    ) -> RedisConfigurationError {
        // What OpenSSL left must not be taken for the failure of a connection.
        ERR_clear_error()
        return RedisConfigurationError(variable: variable, message: "the file '\(path)' \(words)")
    }

    private static func partner(_ given: String, _ missing: String) -> RedisConfigurationError {
        RedisConfigurationError(variable: missing, message: "is missing; \(given) needs it")
    }
}
