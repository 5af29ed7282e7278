// TLS (OpenSSL 1.1.1 and 3.x); nothing but RedisClient imports it. What OpenSSL writes as macros, as
// functions.
#ifndef SWITCHBOARD_COPENSSL_SHIM_H
#define SWITCHBOARD_COPENSSL_SHIM_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// TLS 1.2 or newer; nothing is agreed upon anew in the middle, so that writing never waits for
// reading; an idle connection owns no record buffers.
static inline int switchboard_tls_set_terms(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
}

static inline int switchboard_tls_set_server_name(SSL *session, const char *name) {
    return (int)SSL_set_tlsext_host_name(session, name);
}

static inline int switchboard_tls_reason(unsigned long error) { return ERR_GET_REASON(error); }

#endif
