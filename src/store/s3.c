/* The store on S3 and compatible servers. s3.h tells what the other files do; the rest is here.
 * Owns the HTTP client and a copy of the settings; runs on the caller's thread. */
#include "s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "msaas/sigv4.h"
#include "msaas/sys.h"
#include "msaas/url.h"

static int s3_ping(struct ms_store *store, struct ms_error *err) {
    struct ms_s3_call call = {.method = "GET"};
    const int rc = ms_s3_send((struct ms_s3 *)store, &call, err);
    if (rc != 0 || (call.status == 403 && strcmp(call.error, "AccessDenied") == 0))
        return rc;
    return ms_s3_status(&call, err);
}

static int s3_remove(struct ms_store *store, const char *bucket, const char *key,
                     struct ms_error *err) {
    struct ms_s3_call call = {.method = "DELETE", .bucket = bucket, .key = key};
    const int rc = ms_s3_do((struct ms_s3 *)store, &call, err);
    return rc == MS_ENOTFOUND ? 0 : rc;
}

/* What the answer is to have, as parameters of the URL. NULL: no memory. */
static char *answer_query(const char *disposition) {
    if (disposition == NULL)
        return strdup("");
    char *value = ms_percent_encode(disposition, false);
    char *query = value != NULL ? ms_strdupf("response-content-disposition=%s", value) : NULL;
    free(value);
    return query;
}

static int s3_presign(struct ms_store *store, const char *bucket, const char *key,
                      const char *disposition, int64_t bytes, int seconds, char **url,
                      struct ms_error *err) {
    const struct ms_s3 *s3 = (const struct ms_s3 *)store;
    char *host = NULL, *path = NULL;
    int rc = ms_s3_address(s3, bucket, key, &host, &path, err);
    if (rc != 0)
        return rc;
    char *answer = answer_query(disposition);
    char date[17];
    ms_s3_date(date);
    char *query = NULL, length[40];
    const char *const of_put[] = {length, "if-none-match: *", NULL};
    (void)snprintf(length, sizeof length, "content-length: %lld", (long long)bytes);
    if (answer == NULL)
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    else
        rc = ms_sigv4_presign(&(struct ms_sigv4_request){.method = bytes >= 0 ? "PUT" : "GET",
                                                         .headers = bytes >= 0 ? of_put : NULL,
                                                         .host = host,
                                                         .path = path,
                                                         .query = answer,
                                                         .payload_sha256 = "UNSIGNED-PAYLOAD",
                                                         .region = s3->region,
                                                         .service = "s3",
                                                         .access_key = s3->access_key,
                                                         .secret_key = s3->secret_key,
                                                         .session_token = s3->session_token,
                                                         .amz_date = date},
                              seconds, &query, err);
    if (rc == 0) {
        *url = ms_strdupf("%s://%s%s?%s", s3->scheme, host, path, query);
        if (*url == NULL)
            rc = ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    }
    free(host);
    free(path);
    free(query);
    free(answer);
    return rc;
}

static void s3_close(struct ms_store *store) {
    struct ms_s3 *s3 = (struct ms_s3 *)store;
    ms_http_client_free(s3->http);
    free(s3->authority);
    free(s3->base_path);
    free(s3->region);
    free(s3->access_key);
    if (s3->secret_key != NULL)
        explicit_bzero(s3->secret_key, strlen(s3->secret_key));
    free(s3->secret_key);
    free(s3->session_token);
    free(s3->ca_file);
    free(s3);
}

/* ---- opening ---- */

/* "http://host:port/path": the port is left out where it is the scheme's own, as in the Host
 * header. */
static int set_endpoint(struct ms_s3 *s3, const char *endpoint, struct ms_error *err) {
    const char *host, *own_port;
    if (strncasecmp(endpoint, "http://", 7) == 0) {
        s3->scheme = "http";
        own_port = ":80";
        host = endpoint + 7;
    } else if (strncasecmp(endpoint, "https://", 8) == 0) {
        s3->scheme = "https";
        own_port = ":443";
        host = endpoint + 8;
    } else {
        return ms_error_set(err, MS_EUSAGE,
                            "the endpoint of S3 must be an http:// or https:// URL");
    }
    size_t size = strcspn(host, "/?#");
    size_t path = strlen(host + size);
    while (path > 0 && host[size + path - 1] == '/')
        path--;
    if (size == 0 ||
        strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
                     ":[]") != size ||
        strpbrk(host + size, "?#%\\ \r\n\t") != NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "the endpoint of S3 must be a URL of host and port, such as "
                            "https://s3.example.org:9000, without user and query");
    s3->base_path = strndup(host + size, path);
    if (size > strlen(own_port) &&
        strncmp(host + size - strlen(own_port), own_port, strlen(own_port)) == 0)
        size -= strlen(own_port);
    s3->authority = strndup(host, size);
    return s3->base_path != NULL && s3->authority != NULL
               ? 0
               : ms_error_set(err, MS_ENOMEM, "no memory for a store");
}

static int copy(const char *text, char **out, struct ms_error *err) {
    if (text == NULL || text[0] == '\0')
        return 0;
    if (strpbrk(text, "\r\n") != NULL)
        return ms_error_set(err, MS_EUSAGE, "a setting of S3 holds a line break");
    *out = strdup(text);
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a store");
}

static int copy_settings(struct ms_s3 *s3, const struct ms_store_options *options,
                         struct ms_error *err) {
    const struct {
        const char *from;
        char **to;
    } settings[] = {
        {options->region != NULL && options->region[0] != '\0' ? options->region : "us-east-1",
         &s3->region},
        {options->access_key, &s3->access_key},
        {options->secret_key, &s3->secret_key},
        {options->session_token, &s3->session_token},
        {options->ca_file, &s3->ca_file},
    };

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const int rc = copy(settings[i].from, settings[i].to, err);
        if (rc != 0)
            return rc;
    }
    if (s3->access_key == NULL || s3->secret_key == NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "S3 needs credentials: set AWS_ACCESS_KEY_ID and "
                            "AWS_SECRET_ACCESS_KEY");
    return 0;
}

int ms_store_s3_open(const struct ms_store_options *options, struct ms_store **out,
                     struct ms_error *err) {
    static const struct ms_store_ops ops = {
        .close = s3_close,
        .ping = s3_ping,
        .put = ms_s3_put,
        .head = ms_s3_head,
        .get = ms_s3_get,
        .remove = s3_remove,
        .list = ms_s3_list,
        .sweep = ms_s3_sweep,
        .presign = s3_presign,
    };
    const char *prefix = options->url + strlen("s3:");
    char *amazon = NULL;
    if (strncmp(prefix, "//", 2) != 0 || strlen(prefix) > MS_STORE_BUCKET_MAX ||
        strspn(prefix + 2, "abcdefghijklmnopqrstuvwxyz0123456789.-") != strlen(prefix + 2))
        return ms_error_set(err, MS_EUSAGE,
                            "the store's URL must be s3:// or s3://PREFIX, where PREFIX begins "
                            "the buckets' names");
    struct ms_s3 *s3 = calloc(1, sizeof *s3);
    if (s3 == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a store");
    s3->store.ops = &ops;
    s3->store.cancel = options->cancel;
    snprintf(s3->store.prefix, sizeof s3->store.prefix, "%s", prefix + 2);
    s3->virtual_host = options->virtual_host;
    s3->create_buckets = options->create_buckets;
    s3->attempts = options->attempts > 0 ? options->attempts : 6;
    s3->backoff_ms = options->backoff_ms > 0 ? options->backoff_ms : 250;
    s3->stall_timeout_s = options->stall_timeout_s > 0 ? options->stall_timeout_s : 30;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    s3->random = ((uint32_t)now.tv_nsec ^ (uint32_t)getpid() << 16) | 1;
    int rc = copy_settings(s3, options, err);
    if (rc != 0)
        goto out;
    if (options->endpoint == NULL || options->endpoint[0] == '\0') {
        amazon = ms_strdupf("https://s3.%s.amazonaws.com", s3->region);
        rc = amazon != NULL ? set_endpoint(s3, amazon, err)
                            : ms_error_set(err, MS_ENOMEM, "no memory for a store");
    } else {
        rc = set_endpoint(s3, options->endpoint, err);
    }
    if (rc == 0)
        rc = ms_http_client_new(&s3->http, err);
    s3->foreign_endpoint = s3->authority != NULL && strstr(s3->authority, ".amazonaws.com") == NULL;
    if (rc != 0)
        goto out;
    *out = &s3->store;
    s3 = NULL;
out:
    if (s3 != NULL)
        s3_close(&s3->store);
    free(amazon);
    return rc;
}
