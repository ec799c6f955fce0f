/* See redis_tls.h. hiredis checks no host names: OpenSSL is asked to. */
#include "redis_tls.h"

#ifdef MSAAS_REDIS_TLS

#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>

int ms_redis_tls_check(struct ms_error *err) {
    (void)err;
    return 0;
}

int ms_redis_tls_begin(redisContext *context, const char *host, struct ms_error *err) {
    SSL_CTX *settings = SSL_CTX_new(TLS_client_method());
    SSL *ssl = NULL;
    if (settings != NULL && SSL_CTX_set_default_verify_paths(settings) == 1 &&
        SSL_CTX_set_min_proto_version(settings, TLS1_2_VERSION) == 1) {
        SSL_CTX_set_verify(settings, SSL_VERIFY_PEER, NULL);
        ssl = SSL_new(settings);
    }
    SSL_CTX_free(settings); /* ssl keeps it */
    if (ssl == NULL || SSL_set1_host(ssl, host) != 1 || SSL_set_tlsext_host_name(ssl, host) != 1) {
        SSL_free(ssl);
        return ms_error_set(err, MS_EINTERNAL, "Redis %s: TLS cannot be set up", host);
    }
    if (redisInitiateSSL(context, ssl) != REDIS_OK) { /* only on success the context owns ssl */
        SSL_free(ssl);
        return ms_error_set(err, MS_EDENIED, "Redis %s: TLS: %s", host, context->errstr);
    }
    return 0;
}

#else

int ms_redis_tls_check(struct ms_error *err) {
    return ms_error_set(
        err, MS_EUNSUPPORTED,
        "rediss: this build has no TLS for Redis, which hiredis 1.0 and later bring (Debian 13)");
}

int ms_redis_tls_begin(redisContext *context, const char *host, struct ms_error *err) {
    (void)context;
    (void)host;
    return ms_redis_tls_check(err);
}

#endif
