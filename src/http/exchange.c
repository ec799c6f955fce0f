/* An exchange: the request as its handler sees it, and the answer that the handler builds. */
#include "exchange.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "msaas/sys.h"
#include "server.h"

/* of a file, to one client, before the others get their turn */
#define TURN_BYTES (INT64_C(1) << 20)

/* ---- the request ---- */

struct ms_exchange *ms_exchange_new(struct ms_http_server *server, const uint8_t ip[16],
                                    const char *text, size_t size) {
    struct ms_exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL)
        return NULL;
    exchange->text = malloc(size + 1);
    if (exchange->text == NULL) {
        free(exchange);
        return NULL;
    }
    if (size > 0)
        memcpy(exchange->text, text, size);
    exchange->text[size] = '\0';
    exchange->server = server;
    exchange->body.fd = -1;
    server->exchange_count++;
    exchange->head.method = exchange->head.path = exchange->head.query = "";
    exchange->head.content_length = -1;
    (void)ms_ip_text(ip, exchange->peer);
    exchange->call = (struct ms_http_call){.method = "",
                                           .path = "",
                                           .query = "",
                                           .body = "",
                                           .peer = exchange->peer,
                                           .request_id = exchange->request_id,
                                           .exchange = exchange};
    return exchange;
}

static void free_exchange(struct ms_exchange *exchange) {
    if (exchange->headers != NULL)
        evbuffer_free(exchange->headers);
    if (exchange->content != NULL)
        evbuffer_free(exchange->content);
    free(exchange->content_type);
    free(exchange->chunk);
    if (exchange->socket_left)
        (void)close(exchange->socket);
    exchange->server->exchange_count--;
    ms_clients_leave(&exchange->server->clients, exchange->client);
    free(exchange->text);
    free(exchange->path);
    free(exchange);
}

/* Once for the last bytes: whatever breaks a body off, nothing that has come is lost. */
void ms_exchange_take(struct ms_exchange *e, enum ms_http_part part) {
    struct ms_body *body = &e->body;
    const bool mapped = body->bytes > 0 && ms_body_map(e->server, body);
    if (body->status != 0 && part != MS_HTTP_BROKEN)
        return;
    e->intake.take(e->intake.context, &e->call, mapped ? body->map : "",
                   mapped ? (size_t)body->bytes : 0, part);
    if (part != MS_HTTP_MORE)
        e->intake.take = NULL;
    ms_body_empty(e->server, body);
}

static void end_stream_and_body(struct ms_exchange *e) {
    if (e->intake.take != NULL)
        ms_exchange_take(e, MS_HTTP_BROKEN);
    if (e->intake.close != NULL)
        e->intake.close(e->intake.context);
    e->intake.close = NULL;
    if (e->stream.close != NULL)
        e->stream.close(e->stream.context);
    e->stream.close = NULL;
    if (e->later.close != NULL)
        e->later.close(e->later.context);
    e->later.close = NULL;
    ms_body_free(e->server, &e->body);
}

static void run_close(void *user) {
    struct ms_exchange *e = user;
    end_stream_and_body(e);
    ms_server_give_back(e);
}

void ms_exchange_release(struct ms_exchange *e) {
    e->connection = NULL;
    if (e->task != MS_TASK_NONE) {
        atomic_store(&e->abandoned, true);
        return; /* later, when it comes back */
    }
    if (e->stream.close != NULL || e->later.close != NULL || e->intake.close != NULL ||
        e->body.fd >= 0) {
        e->task = MS_TASK_CLOSE;
        if (ms_server_post(e, run_close))
            return;
    }
    end_stream_and_body(e);
    free_exchange(e);
}

bool ms_exchange_has_socket(const struct ms_exchange *e) {
    return e->task == MS_TASK_BODY || e->task == MS_TASK_PASS;
}

bool ms_exchange_brings_body(const struct ms_exchange *e) {
    return e->head.chunked || e->head.content_length > 0;
}

bool ms_exchange_is_stream(const struct ms_exchange *e) {
    return e->stream.read != NULL || e->stream.pass != NULL;
}

void ms_exchange_tell(struct ms_exchange *e, int status) {
    const struct ms_http_server_options *options = &e->server->options;
    if (options->done != NULL && !e->told)
        options->done(options->context, e->head.method, e->route != NULL ? e->route->pattern : "",
                      e->head.path, status, ms_monotonic_s() - e->started_s, e->sent_bytes,
                      e->request_id, e->peer, e);
    e->told = true;
}

static bool is_sane_id(const char *id) {
    const size_t length = id != NULL ? strlen(id) : 0;
    if (length == 0 || length > 64)
        return false;
    for (; *id != '\0'; id++)
        if (!isalnum((unsigned char)*id) && strchr("._-", *id) == NULL)
            return false;
    return true;
}

void ms_exchange_name(struct ms_exchange *exchange) {
    const char *id = ms_http_head_field(&exchange->head, "X-Request-Id");
    unsigned char random[16] = {0};
    if (is_sane_id(id)) {
        snprintf(exchange->request_id, sizeof exchange->request_id, "%s", id);
        return;
    }
    if (getrandom(random, sizeof random, GRND_NONBLOCK) < 0)
        memcpy(random, &exchange,
               sizeof exchange); /* it need not be secret: it only tells requests apart */
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(exchange->request_id + 2 * i, 3, "%02x", random[i]);
}

void *ms_http_notes(const struct ms_exchange *exchange) {
    return exchange->call.exchange->notes;
}

bool ms_http_is_foreign(const struct ms_http_call *call) {
    return call->exchange->foreign != NULL;
}

const char *ms_http_header(const struct ms_http_call *call, const char *name) {
    return ms_http_head_field(&call->exchange->head, name);
}

int ms_http_query(const struct ms_http_call *call, const char *name, char **out) {
    const char *at = call->query;
    char *text = malloc(strlen(at) + 1);
    *out = NULL;
    if (text == NULL)
        return MS_ENOMEM;
    for (; *at != '\0'; at += strspn(at, "&")) {
        const size_t pair = strcspn(at, "&");
        const char *sign = memchr(at, '=', pair);
        const size_t key = sign != NULL ? (size_t)(sign - at) : pair;
        if (ms_http_percent_decode(at, key, true, text) && strcmp(text, name) == 0) {
            const char *value = sign != NULL ? sign + 1 : at + pair;
            if (!ms_http_percent_decode(value, (size_t)(at + pair - value), true, text)) {
                free(text);
                return MS_EUSAGE;
            }
            *out = text;
            return 0;
        }
        at += pair;
    }
    free(text);
    return 0;
}

void ms_http_take_body(const struct ms_http_call *call, const struct ms_http_intake *intake) {
    call->exchange->intake = *intake;
}

/* ---- the answer, on the handler's thread ---- */

static bool is_line(const char *text) {
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return false;
    return true;
}

void ms_http_add_header(const struct ms_http_call *call, const char *name, const char *value) {
    struct ms_exchange *exchange = call->exchange;
    if (*name == '\0' || !is_line(name) || strpbrk(name, ": \t") != NULL || !is_line(value))
        return;
    if (exchange->headers == NULL)
        exchange->headers = evbuffer_new();
    if (exchange->headers == NULL ||
        evbuffer_add_printf(exchange->headers, "%s: %s\r\n", name, value) < 0)
        exchange->out_of_memory = true;
}

/* The last answer counts; an earlier one is dropped. */
static void begin_answer(struct ms_exchange *exchange, int status, const char *content_type) {
    if (exchange->stream.close != NULL)
        exchange->stream.close(exchange->stream.context);
    exchange->stream = (struct ms_http_stream){0};
    exchange->is_put_off = false;
    if (exchange->content != NULL)
        evbuffer_free(exchange->content);
    exchange->content = NULL;
    free(exchange->content_type);
    exchange->content_type = NULL;
    exchange->status = status >= 200 && status <= 599 ? status : 500;
    if (content_type != NULL && is_line(content_type)) {
        exchange->content_type = strdup(content_type);
        if (exchange->content_type == NULL)
            exchange->out_of_memory = true;
    }
}

void ms_http_reply(const struct ms_http_call *call, int status, const char *content_type,
                   const void *body, size_t size) {
    struct ms_exchange *exchange = call->exchange;
    begin_answer(exchange, status, content_type);
    const bool may_wait = exchange->route != NULL && exchange->route->where != MS_HTTP_LOOP;
    if (size == 0 || (size > MS_HTTP_CHUNK_BYTES && may_wait &&
                      ms_exchange_answer_by_file(exchange, body, size)))
        return;
    exchange->content = evbuffer_new();
    if (exchange->content == NULL || evbuffer_add(exchange->content, body, size) != 0)
        exchange->out_of_memory = true;
}

void ms_http_reply_static(const struct ms_http_call *call, int status, const char *content_type,
                          const void *body, size_t size) {
    struct ms_exchange *exchange = call->exchange;
    begin_answer(exchange, status, content_type);
    exchange->content = evbuffer_new();
    if (exchange->content == NULL ||
        evbuffer_add_reference(exchange->content, body, size, NULL, NULL) != 0)
        exchange->out_of_memory = true;
}

void ms_http_reply_stream(const struct ms_http_call *call, int status, const char *content_type,
                          const struct ms_http_stream *stream) {
    begin_answer(call->exchange, status, content_type);
    call->exchange->stream = *stream;
}

void ms_http_reply_later(const struct ms_http_call *call, int after_ms,
                         const struct ms_http_later *later) {
    struct ms_exchange *exchange = call->exchange;
    exchange->later = *later;
    exchange->again_ms = after_ms;
    exchange->is_put_off = true;
}

int ms_http_scratch_file(const struct ms_http_call *call) {
    return ms_http_file_new(call->exchange->server);
}

/* ---- the answer, on the loop ---- */

static const char *reason_phrase(int status) {
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {{200, "OK"},
                   {201, "Created"},
                   {202, "Accepted"},
                   {204, "No Content"},
                   {206, "Partial Content"},
                   {301, "Moved Permanently"},
                   {302, "Found"},
                   {303, "See Other"},
                   {304, "Not Modified"},
                   {307, "Temporary Redirect"},
                   {308, "Permanent Redirect"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {406, "Not Acceptable"},
                   {408, "Request Timeout"},
                   {409, "Conflict"},
                   {410, "Gone"},
                   {411, "Length Required"},
                   {412, "Precondition Failed"},
                   {413, "Content Too Large"},
                   {414, "URI Too Long"},
                   {415, "Unsupported Media Type"},
                   {416, "Range Not Satisfiable"},
                   {417, "Expectation Failed"},
                   {421, "Misdirected Request"},
                   {422, "Unprocessable Content"},
                   {423, "Locked"},
                   {428, "Precondition Required"},
                   {429, "Too Many Requests"},
                   {431, "Request Header Fields Too Large"},
                   {460, "Checksum Mismatch"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {502, "Bad Gateway"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"},
                   {505, "HTTP Version Not Supported"}};

    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Unknown";
}

void ms_exchange_error(struct ms_exchange *exchange, int status, const char *reason) {
    const struct ms_http_server_options *options = &exchange->server->options;
    const char *content_type = "application/json";
    char body[2048] = "";
    /* a path that could not be decoded is used raw: it still shows which API was meant */
    const char *path = *exchange->call.path != '\0' ? exchange->call.path : exchange->head.path;
    if (options->error_body != NULL)
        options->error_body(options->context, path, status, reason, body, sizeof body,
                            &content_type);
    else
        snprintf(body, sizeof body, "{\"reason\":\"%s\"}\n",
                 reason); /* a text of the server itself: nothing to escape */
    ms_http_reply(&exchange->call, status, content_type, body, strlen(body));
}

bool ms_exchange_has_body(const struct ms_exchange *exchange) {
    return strcmp(exchange->head.method, "HEAD") != 0 && exchange->status != 204 &&
           exchange->status != 304;
}

bool ms_exchange_put_head(const struct ms_exchange *exchange, int64_t length, bool keep_alive,
                          const char *date, struct evbuffer *out) {
    const int status = exchange->status;
    bool ok = evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\nX-Request-Id: %s\r\n", status,
                                  reason_phrase(status), date, exchange->request_id) > 0;
    if (exchange->content_type != NULL && status != 204 && status != 304)
        ok = ok && evbuffer_add_printf(out, "Content-Type: %s\r\n", exchange->content_type) > 0;
    if (status == 204 || status == 304) {
        /* no body, so no length */
    } else if (length >= 0) {
        ok = ok && evbuffer_add_printf(out, "Content-Length: %lld\r\n", (long long)length) > 0;
    } else if (exchange->head.minor >= 1) {
        ok = ok && evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n") > 0;
    }
    if (!keep_alive)
        ok = ok && evbuffer_add_printf(out, "Connection: close\r\n") > 0;
    if (exchange->headers != NULL)
        ok = ok && evbuffer_add_buffer(out, exchange->headers) == 0;
    return ok && evbuffer_add(out, "\r\n", 2) == 0;
}

void ms_exchange_read(struct ms_exchange *exchange) {
    const struct ms_http_stream *stream = &exchange->stream;
    size_t capacity = MS_HTTP_CHUNK_BYTES;
    exchange->chunk_bytes = 0;
    exchange->again_ms = 0;
    exchange->read_err = (struct ms_error){0};
    if (stream->length >= 0 && stream->length - exchange->streamed_bytes < (int64_t)capacity)
        capacity = (size_t)(stream->length - exchange->streamed_bytes);
    if (exchange->chunk == NULL)
        exchange->chunk = malloc(MS_HTTP_CHUNK_BYTES + 2 * MS_HTTP_CHUNK_ROOM);
    if (exchange->chunk == NULL) {
        exchange->read_rc = ms_error_set(&exchange->read_err, MS_ENOMEM, "no memory for a chunk");
        return;
    }
    exchange->read_rc =
        stream->read(stream->context, exchange->chunk + MS_HTTP_CHUNK_ROOM, capacity,
                     &exchange->chunk_bytes, &exchange->again_ms, &exchange->read_err);
    if (exchange->read_rc == 0 && exchange->chunk_bytes > capacity)
        exchange->read_rc = ms_error_set(&exchange->read_err, MS_EINTERNAL,
                                         "a stream gave more bytes than there is room for");
    if (exchange->chunk_bytes == 0) { /* it may be long until there is more */
        free(exchange->chunk);
        exchange->chunk = NULL;
    }
}

bool ms_exchange_goes_on(struct ms_exchange *exchange) {
    if (atomic_load(&exchange->abandoned))
        return false;
    if (ms_server_waited(exchange) <= 1)
        return true;
    /* The pool is blocked: better an early error. */
    ms_exchange_error(exchange, 503, MS_HTTP_TOO_MANY_WAIT);
    ms_http_add_header(&exchange->call, "Retry-After", "5");
    return false;
}

void ms_exchange_pass(struct ms_exchange *exchange) {
    const int64_t left = exchange->stream.length - exchange->streamed_bytes;
    exchange->read_err = (struct ms_error){0};
    exchange->outlet = (struct ms_http_outlet){.socket = exchange->socket,
                                               .left = left < TURN_BYTES ? left : TURN_BYTES};
    exchange->read_rc =
        exchange->stream.pass(exchange->stream.context, &exchange->outlet, &exchange->read_err);
}
