/* One HTTP request at a time over connections that are kept: downloads of models, S3, callbacks.
 * Owns the libcurl handle and the last response. On the thread of the caller. */
#include "msaas/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "msaas/url.h"

#define DEFAULT_MAX_BYTES (INT64_C(1) << 20)
#define SMALL_BODY_BYTES (1 << 20)
#define MAX_HEADER_BYTES (64u << 10)

struct ms_http_client {
    CURL *curl;
    /* Of the current request: */
    const struct ms_http_request *request;
    struct ms_http_response *response;
    struct ms_error *err;
    /* code of the first failure in our own functions, which libcurl reports as an abort only */
    int failed;
    bool head_told; /* request->head was called */
    bool denied;    /* allow_address refused an address */
    bool opened;    /* it allowed one */
    int64_t sent, received;
    /* Of the last response: */
    char *headers; /* "Name: value" lines, each ended by NUL; an empty one ends them */
    size_t headers_size;
    char *body;
    size_t body_size, body_capacity;
};

/* ---- small things ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_state;

static void init_libcurl(void) {
    global_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int64_t max_bytes(const struct ms_http_request *request) {
    return request->max_bytes > 0 ? request->max_bytes : DEFAULT_MAX_BYTES;
}

/* ---- what libcurl calls ---- */

static int fail(struct ms_http_client *client, int code) {
    if (client->failed == 0)
        client->failed = code;
    return code;
}

static size_t give_body(char *buffer, size_t size, size_t count, void *user) {
    struct ms_http_client *client = user;
    const struct ms_http_request *request = client->request;
    const int64_t left = request->body_bytes - client->sent;
    size_t some = size * count;
    if ((int64_t)some > left)
        some = (size_t)left;
    if (some == 0)
        return 0;
    if (request->read == NULL) {
        memcpy(buffer, (const char *)request->body + client->sent, some);
    } else {
        size_t got = 0;
        const int rc = request->read(request->context, buffer, some, &got, client->err);
        if (rc != 0 || got == 0 || got > some) {
            fail(client,
                 rc != 0 ? rc
                         : ms_error_set(client->err, MS_EINTERNAL,
                                        "the body of a request ended before its stated length"));
            return CURL_READFUNC_ABORT;
        }
        some = got;
    }
    client->sent += (int64_t)some;
    return some;
}

/* The server had closed the kept connection: libcurl tries a new one. */
static int rewind_body(void *user, curl_off_t offset, int origin) {
    struct ms_http_client *client = user;
    const struct ms_http_request *request = client->request;
    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    if (request->read != NULL && client->sent != 0 &&
        (request->rewind == NULL || !request->rewind(request->context)))
        return CURL_SEEKFUNC_CANTSEEK;
    client->sent = 0;
    return CURL_SEEKFUNC_OK;
}

static size_t take_header(char *line, size_t size, size_t count, void *user) {
    struct ms_http_client *client = user;
    size_t length = size * count;
    while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n'))
        length--;
    if (length >= 5 && memcmp(line, "HTTP/", 5) == 0)
        client->headers_size = 0; /* an interim response or a redirect came before this one */
    if (length == 0 || memchr(line, '\0', length) != NULL)
        return size * count;
    if (client->headers_size + length + 2 > MAX_HEADER_BYTES) {
        fail(client,
             ms_error_set(client->err, MS_ENET, "the headers of the response are over %u bytes",
                          MAX_HEADER_BYTES));
        return 0;
    }
    char *grown = realloc(client->headers, client->headers_size + length + 2);
    if (grown == NULL) {
        fail(client,
             ms_error_set(client->err, MS_ENOMEM, "no memory for the headers of a response"));
        return 0;
    }
    client->headers = grown;
    memcpy(grown + client->headers_size, line, length);
    grown[client->headers_size + length] = '\0';
    client->headers_size += length + 1;
    grown[client->headers_size] = '\0';
    return size * count;
}

static int tell_head(struct ms_http_client *client) {
    const struct ms_http_request *request = client->request;
    long status = 0;
    if (client->head_told)
        return client->failed;
    client->head_told = true;
    (void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    client->response->status = (int)status;
    if (request->head != NULL) {
        const int rc = request->head(request->context, client->response, client->err);
        if (rc != 0)
            return fail(client, rc);
    }
    return 0;
}

static int collect(struct ms_http_client *client, const char *bytes, size_t size) {
    if (client->body_size + size + 1 > client->body_capacity) {
        const size_t capacity = 2 * (client->body_size + size + 1);
        char *grown = realloc(client->body, capacity);
        if (grown == NULL)
            return ms_error_set(client->err, MS_ENOMEM, "no memory for a response of %zu bytes",
                                capacity);
        client->body = grown;
        client->body_capacity = capacity;
    }
    memcpy(client->body + client->body_size, bytes, size);
    client->body_size += size;
    client->body[client->body_size] = '\0';
    return 0;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *user) {
    struct ms_http_client *client = user;
    const struct ms_http_request *request = client->request;
    const size_t length = size * count;
    if (tell_head(client) != 0)
        return 0;
    client->received += (int64_t)length;
    int rc;
    if (client->received > max_bytes(request))
        rc = ms_error_set(client->err, MS_ETOOLARGE, "the response is over %lld bytes",
                          (long long)max_bytes(request));
    else if (request->write != NULL)
        rc = request->write(request->context, bytes, length, client->err);
    else
        rc = collect(client, bytes, length);
    if (rc != 0) {
        fail(client, rc);
        return 0;
    }
    return length;
}

static int watch(void *user, curl_off_t total, curl_off_t received, curl_off_t to_send,
                 curl_off_t sent) {
    struct ms_http_client *client = user;
    const struct ms_http_request *request = client->request;
    (void)to_send;
    (void)sent;
    if (request->cancel != NULL && atomic_load(request->cancel)) {
        fail(client, ms_error_set(client->err, MS_ECANCELED, "canceled"));
        return 1;
    }
    if (request->progress != NULL && client->head_told)
        request->progress(request->context, received, total);
    return 0;
}

/* By libcurl's own parser, so that nobody reads another host there than it does. */
static bool ask_allowed(struct ms_http_client *client, const struct sockaddr *address) {
    const struct ms_http_request *request = client->request;
    const char *url = NULL;
    char *host = NULL;
    CURLU *parts = curl_url();
    (void)curl_easy_getinfo(client->curl, CURLINFO_EFFECTIVE_URL, &url);
    if (parts != NULL && url != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK)
        (void)curl_url_get(parts, CURLUPART_HOST, &host, 0);
    const bool allowed =
        request->allow_address(request->context, host != NULL ? host : "", address);
    curl_free(host);
    curl_url_cleanup(parts);
    return allowed;
}

static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
    struct ms_http_client *client = user;
    (void)purpose;
    if (!ask_allowed(client, &address->addr)) {
        client->denied = true;
        return CURL_SOCKET_BAD;
    }
    client->opened = true;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- one request ---- */

int ms_http_client_new(struct ms_http_client **out, struct ms_error *err) {
    *out = NULL;
    (void)pthread_once(&once, init_libcurl);
    if (global_state != CURLE_OK)
        return ms_error_set(err, MS_EINTERNAL, "libcurl cannot be started: %s",
                            curl_easy_strerror(global_state));
    struct ms_http_client *client = calloc(1, sizeof *client);
    if (client != NULL)
        client->curl = curl_easy_init();
    if (client == NULL || client->curl == NULL) {
        ms_http_client_free(client);
        return ms_error_set(err, MS_ENOMEM, "no memory for an HTTP client");
    }
    *out = client;
    return 0;
}

void ms_http_client_free(struct ms_http_client *client) {
    if (client == NULL)
        return;
    curl_easy_cleanup(client->curl);
    free(client->headers);
    free(client->body);
    free(client);
}

static int add_header(struct curl_slist **list, const char *header, struct ms_error *err) {
    if (strpbrk(header, "\r\n") != NULL)
        return ms_error_set(err, MS_EUSAGE, "a header of a request contains a line break");
    struct curl_slist *longer = curl_slist_append(*list, header);
    if (longer == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the headers of a request");
    *list = longer;
    return 0;
}

static int add_headers(const struct ms_http_request *request, struct curl_slist **list,
                       struct ms_error *err) {
    int rc = 0;
    /* Expect: 100-continue costs a second if the peer does not answer it: only large bodies are
     * worth it. */
    if (request->body_bytes < SMALL_BODY_BYTES)
        rc = add_header(list, "Expect:", err);
    for (const char *const *header = request->headers; rc == 0 && header != NULL && *header != NULL;
         header++)
        rc = add_header(list, *header, err);
    return rc;
}

static void set_up(struct ms_http_client *client, const struct ms_http_request *request,
                   struct curl_slist *headers, char detail[CURL_ERROR_SIZE]) {
    CURL *curl = client->curl;
    const bool secure = strncasecmp(request->url, "https:", 6) == 0;
    const bool has_body = request->body != NULL || request->read != NULL;
    curl_easy_reset(curl); /* connections are kept */
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    (void)curl_easy_setopt(curl, CURLOPT_URL, request->url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, request->max_redirects > 0 ? 1L : 0L);
    (void)curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)request->max_redirects);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "msaas/" MSAAS_VERSION);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(
        curl, CURLOPT_CONNECTTIMEOUT,
        (long)(request->connect_timeout_s > 0 ? request->connect_timeout_s : 10));
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                           (long)(request->stall_timeout_s > 0 ? request->stall_timeout_s : 30));
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)request->total_timeout_s);
    /* Without this, libcurl waits for a name server even when the time is over, or the request
     * was canceled. */
    (void)curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, client);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (request->ca_file != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
        (void)curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    if (request->allow_address != NULL) {
        /* A kept connection may have been made without this check. */
        (void)curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
        (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
        (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, client);
    }
    if (has_body) {
        (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_bytes);
        (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_body);
        (void)curl_easy_setopt(curl, CURLOPT_READDATA, client);
        (void)curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, rewind_body);
        (void)curl_easy_setopt(curl, CURLOPT_SEEKDATA, client);
    }
    if (strcmp(request->method, "HEAD") == 0)
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (strcmp(request->method, "GET") != 0)
        (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static int code_of(CURLcode result) {
    switch (result) {
    case CURLE_OUT_OF_MEMORY: return MS_ENOMEM;
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_UNSUPPORTED_PROTOCOL: return MS_EUSAGE;
    case CURLE_PEER_FAILED_VERIFICATION: return MS_EDENIED;
    default: return MS_ENET;
    }
}

int ms_http_send(struct ms_http_client *client, const struct ms_http_request *request,
                 struct ms_http_response *response, struct ms_error *err) {
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    *response = (struct ms_http_response){.client = client};
    client->request = request;
    client->response = response;
    struct ms_error local;
    client->err = err != NULL ? err : &local;
    client->failed = 0;
    client->head_told = client->denied = client->opened = false;
    client->sent = client->received = 0;
    client->headers_size = client->body_size = 0;
    char shown[300];
    if (request->secret_path)
        ms_url_origin(request->url, shown, sizeof shown);
    else
        ms_url_public(request->url, shown, sizeof shown);
    int rc = add_headers(request, &headers, client->err);
    if (rc != 0)
        goto out;
    set_up(client, request, headers, detail);
    CURLcode result = curl_easy_perform(client->curl);
    response->refused = client->denied && !client->opened;
    if (result == CURLE_OK)
        rc = tell_head(client);
    else if (client->failed != 0)
        rc = client->failed; /* its text is recorded already */
    else if (response->refused)
        rc = ms_error_set(client->err, MS_EDENIED, "connections to its address are not allowed");
    else
        rc = ms_error_set(client->err, code_of(result), "%s",
                          detail[0] != '\0' ? detail : curl_easy_strerror(result));
    if (rc != 0 && rc != MS_ECANCELED && client->failed == 0)
        rc = ms_error_prefix(client->err, "%s", shown);
    response->body = client->body_size > 0 ? client->body : "";
    response->body_bytes = client->body_size;
out:
    curl_slist_free_all(headers);
    client->request = NULL;
    client->response = NULL;
    client->err = NULL;
    return rc;
}

const char *ms_http_response_header(const struct ms_http_response *response, const char *name) {
    const struct ms_http_client *client = response->client;
    const size_t length = strlen(name);
    if (client->headers_size == 0)
        return NULL;
    for (const char *line = client->headers; *line != '\0'; line += strlen(line) + 1) {
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}
