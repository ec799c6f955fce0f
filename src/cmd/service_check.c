/* Checks of a command's options that change nothing and connect to nothing: URLs, networks,
 * secrets, devices. Each command runs them before it does anything; `msaas config` shows their
 * result. Owns nothing. Main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "msaas/cmd.h"
#include "msaas/http_server.h"
#include "msaas/networks.h"
#include "msaas/queue.h"
#include "msaas/tokens.h"
#include "msaas/url.h"
#include "msaas/webhook.h"
#include "service.h"

/* Makes the error one about this option: it says where the value came from, but never the value,
 * which may contain a password. */
static int of(const struct ms_options *options, enum ms_option_id id, struct ms_error *err) {
    char origin[MS_OPTION_ORIGIN_BYTES];
    return ms_error_prefix(err, "%s", ms_options_origin(options, id, origin));
}

static int check_queue(const struct ms_options *options, bool complete, struct ms_error *err) {
    const char *url = ms_options_string(options, MS_OPTION_QUEUE);
    struct ms_queue *queue = NULL;
    if (url == NULL && complete)
        return ms_error_set(err, MS_EUSAGE,
                            "no queue: give --queue or set MSAAS_QUEUE, redis://HOST:6379/0 or "
                            "sqlite:PATH (or set REDIS_URL, or REDIS_HOST)");
    int rc = ms_options_check_parts(options, MS_OPTION_QUEUE, err);
    if (rc != 0 || url == NULL)
        return rc;
    rc = ms_queue_open(url, &queue, err); /* does not connect */
    ms_queue_close(queue);
    return rc == 0 ? 0 : of(options, MS_OPTION_QUEUE, err);
}

/* ---- S3 ---- */

static int check_endpoint(const struct ms_options *options, struct ms_error *err) {
    const char *text = ms_options_string(options, MS_OPTION_S3_ENDPOINT);
    int rc = ms_options_check_parts(options, MS_OPTION_S3_ENDPOINT, err);
    if (rc != 0 || text == NULL)
        return rc;
    struct ms_url url;
    if (ms_url_parse(text, &url, NULL) == 0 && url.host[0] != '\0' &&
        (strcmp(url.scheme, "http") == 0 || strcmp(url.scheme, "https") == 0) &&
        strpbrk(text, "@?#%\\ ") == NULL)
        return 0;
    (void)ms_error_set(err, MS_EUSAGE,
                       "must be http://HOST:PORT or https://HOST:PORT, without a user or a query");
    return of(options, MS_OPTION_S3_ENDPOINT, err);
}

static int check_key(const struct ms_options *options, bool complete, struct ms_error *err) {
    static const enum ms_option_id of_headers[] = {
        MS_OPTION_S3_REGION,
        MS_OPTION_S3_ACCESS_KEY,
        MS_OPTION_S3_SECRET_KEY,
        MS_OPTION_S3_SESSION_TOKEN,
    };
    for (size_t i = 0; i < sizeof of_headers / sizeof *of_headers; i++) {
        const char *text = ms_options_string(options, of_headers[i]);
        if (text == NULL || strpbrk(text, "\r\n") == NULL)
            continue;
        (void)ms_error_set(err, MS_EUSAGE, "must not contain a line break");
        return of(options, of_headers[i], err);
    }
    if (complete && ms_options_string(options, MS_OPTION_S3_ACCESS_KEY) == NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "--store s3:// needs an access key: give --s3-access-key or set "
                            "AWS_ACCESS_KEY_ID (or MINIO_USER, MINIO_ACCESS_KEY)");
    if (complete && ms_options_string(options, MS_OPTION_S3_SECRET_KEY) == NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "--store s3:// needs the secret of its access key: give "
                            "--s3-secret-key-file or set AWS_SECRET_ACCESS_KEY (or "
                            "MINIO_PASSWD, MINIO_SECRET_KEY)");
    return 0;
}

/* Checked now, because a wrong file would later look like a server that cannot be reached. */
static int check_certificates(const struct ms_options *options, struct ms_error *err) {
    const char *path = ms_options_string(options, MS_OPTION_S3_CA_FILE);
    bool found = false;
    if (path == NULL)
        return 0;
    errno = 0;
    FILE *file = fopen(path, "re");
    char line[256];
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = strncmp(line, "-----BEGIN ", 11) == 0;
    if (!found)
        (void)ms_error_about(err, MS_EUSAGE, path, "%s",
                             file == NULL || errno != 0 ? strerror(errno)
                                                        : "contains no certificate in PEM form");
    if (file != NULL)
        (void)fclose(file);
    return found ? 0 : of(options, MS_OPTION_S3_CA_FILE, err);
}

/* S3 options on the command line beside another kind of store are a mistake. */
static int refuse_s3_options(const struct ms_options *options, struct ms_error *err) {
    static const enum ms_option_id of_s3[] = {
        MS_OPTION_S3_ENDPOINT, MS_OPTION_S3_ACCESS_KEY,    MS_OPTION_S3_SECRET_KEY,
        MS_OPTION_S3_CA_FILE,  MS_OPTION_S3_SESSION_TOKEN, MS_OPTION_S3_VIRTUAL_HOST,
    };
    struct ms_option_view view;
    for (size_t i = 0; i < sizeof of_s3 / sizeof *of_s3; i++)
        if (ms_options_view(options, (int)of_s3[i], &view) && view.given != NULL)
            return ms_error_set(
                err, MS_EUSAGE,
                "--%s works with --store s3:// (MSAAS_STORE) only; here it is another store",
                view.name);
    if (ms_options_view(options, MS_OPTION_PRESIGN, &view) &&
        ms_options_int(options, MS_OPTION_PRESIGN) > 0)
        return ms_error_set(
            err, MS_EUSAGE,
            "--presign (MSAAS_PRESIGN) works with --store s3:// (MSAAS_STORE) only; "
            "here it is another store");
    return 0;
}

/* ---- the store ---- */

struct ms_store_options ms_service_store(const struct ms_options *options) {
    struct ms_store_options store = {
        .url = ms_options_string(options, MS_OPTION_STORE),
        .endpoint = ms_options_string(options, MS_OPTION_S3_ENDPOINT),
        .region = ms_options_string(options, MS_OPTION_S3_REGION),
        .access_key = ms_options_string(options, MS_OPTION_S3_ACCESS_KEY),
        .secret_key = ms_options_string(options, MS_OPTION_S3_SECRET_KEY),
        .session_token = ms_options_string(options, MS_OPTION_S3_SESSION_TOKEN),
        .virtual_host = ms_options_flag(options, MS_OPTION_S3_VIRTUAL_HOST),
        .ca_file = ms_options_string(options, MS_OPTION_S3_CA_FILE),
        .create_buckets = !ms_options_flag(options, MS_OPTION_NO_CREATE_BUCKETS),
    };
    if (store.url == NULL && store.endpoint != NULL)
        store.url = "s3://";
    return store;
}

static int check_store(const struct ms_options *options, bool complete, struct ms_error *err) {
    struct ms_store_options given = ms_service_store(options);
    struct ms_store *store = NULL;
    if (given.url == NULL)
        return !complete ? 0
                         : ms_error_set(err, MS_EUSAGE,
                                        "no store: give --store or set MSAAS_STORE, s3:// or "
                                        "file:DIR (or set AWS_ENDPOINT_URL_S3, MINIO_HOST or "
                                        "MINIO_ENDPOINT)");
    bool is_s3 = strncmp(given.url, "s3:", 3) == 0;
    const char *folder = strncmp(given.url, "file:", 5) == 0 ? given.url + 5 : "";
    bool is_folder = folder[0] != '\0' && (strncmp(folder, "//", 2) != 0 || folder[2] == '/');
    int rc = 0;
    if (is_s3) {
        rc = check_endpoint(options, err);
        if (rc == 0)
            rc = check_key(options, complete, err);
        if (rc == 0)
            rc = check_certificates(options, err);
    }
    if (rc != 0)
        return rc;
    if (is_folder) /* not opened: that would create the folder */
        return refuse_s3_options(options, err);
    if (given.access_key == NULL || given.secret_key == NULL) /* only the URL is checked */
        given.access_key = given.secret_key = "none";
    rc = ms_store_open(&given, &store, err); /* does not connect */
    ms_store_close(store);
    return rc == 0 ? 0 : of(options, MS_OPTION_STORE, err);
}

/* ---- serve ---- */

static int check_proxies(const struct ms_options *options, struct ms_error *err) {
    struct ms_networks *proxies = NULL;
    int rc =
        ms_networks_parse(ms_options_string(options, MS_OPTION_TRUSTED_PROXIES), &proxies, err);
    ms_networks_free(proxies);
    return rc == 0 ? 0 : of(options, MS_OPTION_TRUSTED_PROXIES, err);
}

static int check_tokens(const struct ms_options *options, struct ms_error *err) {
    const char *path = ms_options_string(options, MS_OPTION_TOKENS);
    struct ms_tokens *tokens = NULL;
    const int rc = path != NULL ? ms_tokens_read(path, &tokens, err) : 0;
    ms_tokens_free(tokens);
    if (rc == 0)
        return 0;
    err->code = MS_EUSAGE;
    if (rc == MS_ENOTFOUND)
        ms_error_append(err, "; msaas token add NAME --tokens FILE makes one");
    return of(options, MS_OPTION_TOKENS, err);
}

static int check_cors(const struct ms_options *options, struct ms_error *err) {
    int rc = ms_http_cors_check(ms_options_string(options, MS_OPTION_CORS_ORIGINS), err);
    return rc == 0 ? 0 : of(options, MS_OPTION_CORS_ORIGINS, err);
}

/* ---- workers ---- */

static int check_callbacks(const struct ms_options *options, struct ms_error *err) {
    static const enum ms_option_id ids[] = {MS_OPTION_WEBHOOK_SECRET, MS_OPTION_CALLBACK_ALLOW};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        const char *text = ms_options_string(options, ids[i]);
        struct ms_webhook *webhook = NULL;
        int rc = ms_webhook_new(i == 0 ? text : NULL, i == 1 ? text : NULL, NULL, &webhook, err);
        ms_webhook_free(webhook);
        if (rc != 0)
            return of(options, ids[i], err);
    }
    return 0;
}

/* ---- all ---- */

int ms_service_check(const struct ms_options *options, bool complete, struct ms_error *err) {
    int rc = 0;
    if (ms_options_has(options, MS_OPTION_QUEUE))
        rc = check_queue(options, complete, err);
    if (rc == 0 && ms_options_has(options, MS_OPTION_STORE))
        rc = check_store(options, complete, err);
    if (rc == 0 && ms_options_has(options, MS_OPTION_TRUSTED_PROXIES))
        rc = check_proxies(options, err);
    if (rc == 0 && ms_options_has(options, MS_OPTION_TOKENS))
        rc = check_tokens(options, err);
    if (rc == 0 && ms_options_has(options, MS_OPTION_CORS_ORIGINS))
        rc = check_cors(options, err);
    if (rc == 0 && ms_options_has(options, MS_OPTION_DEVICE))
        rc = ms_cmd_check_device(options, err);
    if (rc == 0 && ms_options_has(options, MS_OPTION_CALLBACK_ALLOW))
        rc = check_callbacks(options, err);
    if (rc == 0 && ms_options_has(options, MS_OPTION_SERVER))
        rc = ms_client_check_server(options, err);
    return rc;
}
