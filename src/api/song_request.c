/* The body of a POST -> a song and its options. These bytes come from anybody:
 * test/fuzz/fuzz_song_request.c. Which models and stems exist is not known here (jobs.c knows). */
#include "song_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "msaas/base64.h"
#include "msaas/http_range.h"
#include "msaas/http_server.h"
#include "msaas/json.h"
#include "msaas/multipart.h"
#include "msaas/text.h"

#define MAX_VALUE_BYTES 4096 /* of an option */

bool ms_problem_set(struct ms_problem *problem, int status, const char *code, const char *fmt,
                    ...) {
    va_list args;
    problem->status = status;
    problem->code = code;
    problem->retry_after_s = 0;
    va_start(args, fmt);
    (void)vsnprintf(problem->text, sizeof problem->text, fmt, args);
    va_end(args);
    return false;
}

static bool no_memory(struct ms_problem *problem) {
    (void)ms_problem_set(problem, 503, "overloaded",
                         "the server is short of memory; try again later");
    problem->retry_after_s = 5;
    return false;
}

void ms_song_request_fini(struct ms_song_request *request) {
    free(request->callback.url);
    free(request->callback.data);
    *request = (struct ms_song_request){0};
}

static void begin(struct ms_song_request *out) {
    *out = (struct ms_song_request){0};
    ms_job_options_default("", &out->options);
}

/* ---- callbacks ---- */

static bool set_callback(struct ms_song_request *out, int version, const char *url, int status,
                         struct ms_problem *problem) {
    if (!ms_job_callback_url_is_valid(url))
        return ms_problem_set(problem, status, "invalid_callback",
                              "the callback's URL must be an http:// or https:// URL of at most "
                              "%d characters",
                              MS_JOB_MAX_CALLBACK_URL);
    free(out->callback.url);
    out->callback.version = version;
    out->callback.url = strdup(url);
    return out->callback.url != NULL || no_memory(problem);
}

/* ---- /apiv1 ---- */

static bool no_model_s_name(const char *name, struct ms_problem *problem) {
    return ms_problem_set(
        problem, 422, "unknown_model",
        "no model can be called \"%.60s\"; GET /apiv2/models lists those on offer", name);
}

static bool take_v1_model(const struct ms_json *node, struct ms_song_request *out,
                          struct ms_problem *problem) {
    if (node == NULL || ms_json_is_null(node))
        return true;
    const char *model = ms_json_string(node);
    if (model == NULL)
        return ms_problem_set(problem, 400, "invalid_json", "\"model\" must be a name");
    return ms_job_option_set(&out->options, &ms_job_option_table[MS_JOB_OPTION_MODEL], model,
                             NULL) == 0 ||
           no_model_s_name(model, problem);
}

/* An object, or the URL alone. text: the whole document. The data of a callback are sent back
 * exactly as they came, because numbers would lose digits in the parser. */
static bool take_v1_callback(const struct ms_json *node, const char *text, size_t size,
                             struct ms_song_request *out, struct ms_problem *problem) {
    if (node == NULL || ms_json_is_null(node))
        return true;
    const char *alone = ms_json_string(node);
    if (alone != NULL)
        return alone[0] == '\0' || set_callback(out, 1, alone, 400, problem);
    const char *url = ms_json_string(ms_json_get(node, "url"));
    if (url == NULL)
        return ms_problem_set(problem, 400, "invalid_callback",
                              "\"callback\" must be a URL, or an object with a \"url\"");
    if (!set_callback(out, 1, url, 400, problem))
        return false;
    const struct ms_json *data = ms_json_get(node, "data");
    if (data == NULL)
        return true;
    if (ms_json_member_text(text, size, "callback", &text, &size) &&
        ms_json_member_text(text, size, "data", &text, &size))
        out->callback.data = strndup(text, size);
    else /* the names of these members contain escapes */
        out->callback.data = ms_json_print(data);
    if (out->callback.data == NULL)
        return no_memory(problem);
    if (strlen(out->callback.data) > MS_JOB_MAX_CALLBACK_DATA)
        return ms_problem_set(problem, 400, "invalid_callback",
                              "the callback's data is longer than %d bytes",
                              MS_JOB_MAX_CALLBACK_DATA);
    return true;
}

/* Resolves the escapes of JSON that base64 may contain, in place. Returns the new length. */
static size_t unescape(char *text, size_t size) {
    char *to = memchr(text, '\\', size);
    if (to == NULL)
        return size;
    for (const char *from = to, *end = text + size; from < end; from++) {
        static const char escapes[] = "/nr", meant[] = "/\n\r";
        const char *escape = NULL;
        if (*from == '\\' && from + 1 < end && from[1] != '\0')
            escape = strchr(escapes, from[1]);
        if (escape != NULL)
            *to++ = meant[escape - escapes], from++;
        else
            *to++ = *from;
    }
    return (size_t)(to - text);
}

/* The bytes of the prefix that makes a data: URL (RFC 2397) of base64, as browsers' FileReader
 * writes it, "data:audio/mpeg;base64,". 0: there is none. */
static size_t data_prefix(const char *text, size_t size) {
    static const char scheme[] = "data:", encoding[] = ";base64";
    enum { MAX_TYPE = 200 };
    if (size < strlen(scheme) || strncasecmp(text, scheme, strlen(scheme)) != 0)
        return 0;
    const char *comma = memchr(text, ',', size < MAX_TYPE ? size : MAX_TYPE);
    const size_t length = comma != NULL ? (size_t)(comma - text) : 0;
    if (length < strlen(scheme) + strlen(encoding) ||
        strncasecmp(comma - strlen(encoding), encoding, strlen(encoding)) != 0)
        return 0;
    return length + 1;
}

static bool take_v1_song(char *text, size_t size, int64_t max_song_bytes,
                         struct ms_song_request *out, struct ms_problem *problem) {
    struct ms_error err = {0};
    size = unescape(text, size);
    const size_t prefix = data_prefix(text, size);
    text += prefix;
    const int rc =
        ms_base64_decode(text, size - prefix, (size_t)max_song_bytes, &out->song_bytes, &err);
    if (rc == MS_ETOOLARGE)
        return ms_problem_set(problem, 413, "too_large",
                              "the song is too large; at most %lld bytes are accepted",
                              (long long)max_song_bytes);
    if (rc != 0)
        return ms_problem_set(problem, 400, "invalid_base64", "\"mp3\": %.300s", err.text);
    out->song = text;
    return true;
}

/* The song is nearly all of the body: it is decoded in place, and the parser, which makes copies,
 * gets the body without it. */
bool ms_song_request_v1(void *body, size_t size, int64_t max_song_bytes,
                        struct ms_song_request *out, struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_json *document = NULL;
    const char *song = NULL;
    size_t song_size = 0, before = size, after = 0;
    begin(out);
    if (ms_json_member_text(body, size, "mp3", &song, &song_size) && *song == '"') {
        before = (size_t)(song - (char *)body) + 1;
        after = size - before - (song_size - 2);
    } else {
        song = NULL;
    }
    char *copy = song != NULL ? malloc(before + after) : NULL;
    if (copy != NULL) {
        memcpy(copy, body, before);
        memcpy(copy + before, (char *)body + size - after, after);
    } else if (song != NULL) {
        return no_memory(problem);
    }
    const char *text = song != NULL ? copy : body;
    const int rc = ms_json_parse(text, before + after, &document, &err);
    bool ok =
        rc == 0 || (rc == MS_ENOMEM ? no_memory(problem)
                                    : ms_problem_set(problem, 400, "invalid_json",
                                                     "the body is not JSON: %.300s", err.text));
    ok = ok && (ms_json_is_object(document) ||
                ms_problem_set(problem, 400, "invalid_json",
                               "the body must be a JSON object with \"mp3\""));
    ok = ok && (song != NULL || ms_problem_set(problem, 400, "invalid_json",
                                               "\"mp3\" is missing: it holds the song in base64"));
    ok = ok && take_v1_model(ms_json_get(document, "model"), out, problem) &&
         take_v1_callback(ms_json_get(document, "callback"), text, before + after, out, problem) &&
         take_v1_song((char *)body + before, song_size - 2, max_song_bytes, out, problem);
    ms_json_free(document);
    free(copy);
    return ok;
}

/* ---- /apiv2: options ---- */

void ms_song_request_name(const char *name, char out[MS_JOB_INPUT_NAME_BYTES]) {
    for (const char *c = name; *c != '\0'; c++)
        if (*c == '/' || *c == '\\')
            name = c + 1;
    size_t length = strlen(name);
    if (length >= MS_JOB_INPUT_NAME_BYTES) {
        length = MS_JOB_INPUT_NAME_BYTES - 1;
        while (length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(out, name, length);
    out[length] = '\0';
}

/* Besides the options in the table. */
static bool is_of_requests(const char *name) {
    return strcmp(name, "callback_url") == 0 || strcmp(name, "callback") == 0 ||
           strcmp(name, "name") == 0;
}

/* what: "option", or of a form "field"; more: what else there is. */
static bool unknown_option(const char *what, const char *name, const char *more,
                           struct ms_problem *problem) {
    char known[200] = "";
    size_t used = 0;
    for (int i = 0; i < MS_JOB_OPTION_COUNT; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s, ",
                                 ms_job_option_table[i].name);
    return ms_problem_set(problem, 422, "unknown_option",
                          "unknown %s \"%.40s\"; %sthe options are %scallback_url and name", what,
                          name, more, known);
}

/* The options in the table, and those of requests only. */
static bool set_option(struct ms_song_request *out, const char *name, const char *value,
                       struct ms_problem *problem) {
    const struct ms_job_option *option = ms_job_option_find(name);
    struct ms_error err = {0};
    if (option != NULL && ms_job_option_set(&out->options, option, value, &err) == 0)
        return true;
    if (option == &ms_job_option_table[MS_JOB_OPTION_MODEL])
        return no_model_s_name(value, problem);
    if (option != NULL)
        return ms_problem_set(problem, 422, "invalid_option", "%.390s", err.text);
    if (!is_of_requests(name))
        return unknown_option("option", name, "", problem);
    if (strcmp(name, "name") != 0)
        return value[0] == '\0' || set_callback(out, 2, value, 422, problem);
    ms_song_request_name(value, out->input_name);
    return true;
}

static bool take_query(const char *query, struct ms_song_request *out, struct ms_problem *problem) {
    const size_t size = strlen(query);
    char *name = malloc(size + 1), *value = malloc(size + 1);
    bool ok = (name != NULL && value != NULL) || no_memory(problem);
    for (const char *at = query; ok && *at != '\0'; at += strspn(at, "&")) {
        const size_t pair = strcspn(at, "&");
        const char *sign = memchr(at, '=', pair);
        const size_t key = sign != NULL ? (size_t)(sign - at) : pair;
        const char *rest = sign != NULL ? sign + 1 : at + pair;
        if (!ms_http_percent_decode(at, key, true, name) ||
            !ms_http_percent_decode(rest, (size_t)(at + pair - rest), true, value))
            ok = ms_problem_set(problem, 400, "invalid_query",
                                "the query is not percent-encoded UTF-8");
        else
            ok = set_option(out, name, value, problem);
        at += pair;
    }
    free(name);
    free(value);
    return ok;
}

/* ---- /apiv2: bodies ---- */

static bool take_field(const struct ms_multipart_part *part, struct ms_song_request *out,
                       struct ms_problem *problem) {
    char value[MAX_VALUE_BYTES];
    if (ms_job_option_find(part->name) == NULL && !is_of_requests(part->name))
        return unknown_option("field", part->name, "the song is the field \"file\"; ", problem);
    if (part->size >= sizeof value || memchr(part->data, '\0', part->size) != NULL)
        return ms_problem_set(problem, 422, "invalid_option",
                              "%.60s: the value is too long or contains a NUL", part->name);
    memcpy(value, part->data, part->size);
    value[part->size] = '\0';
    if (!ms_is_utf8(value))
        return ms_problem_set(problem, 422, "invalid_option", "%.60s: the value is not UTF-8",
                              part->name);
    return set_option(out, part->name, value, problem);
}

static bool take_form(const char *content_type, const void *body, size_t size,
                      struct ms_song_request *out, struct ms_problem *problem) {
    struct ms_multipart *form = calloc(1, sizeof *form);
    struct ms_error err = {0};
    if (form == NULL)
        return no_memory(problem);
    const int rc = ms_multipart_parse(content_type, body, size, form, &err);
    bool ok = rc == 0;
    if (rc == MS_ENOMEM)
        (void)no_memory(problem);
    else if (rc != 0)
        (void)ms_problem_set(problem, 400, "invalid_multipart", "%.390s", err.text);
    for (int i = 0; ok && i < form->count; i++) {
        const struct ms_multipart_part *part = &form->parts[i];
        if (strcmp(part->name, "file") != 0) {
            ok = take_field(part, out, problem);
        } else if (out->song != NULL) {
            ok = ms_problem_set(problem, 422, "too_many_files",
                                "the form has two fields \"file\"; a job is for one song");
        } else {
            out->song = part->data;
            out->song_bytes = part->size;
            if (part->filename != NULL && out->input_name[0] == '\0')
                ms_song_request_name(part->filename, out->input_name);
        }
    }
    if (ok && out->song == NULL)
        ok = ms_problem_set(problem, 400, "missing_file",
                            "the form has no field \"file\", which is the song");
    if (rc == 0)
        ms_multipart_free(form);
    free(form);
    return ok;
}

static bool wrong_json(const char *name, const char *must, struct ms_problem *problem) {
    return ms_problem_set(problem, 400, "invalid_json", "\"%s\" must be %s", name, must);
}

/* What is no option in the table; the table's were read before. */
static bool take_member(const struct ms_json *member, struct ms_song_request *out,
                        struct ms_problem *problem) {
    const char *name = ms_json_name(member), *value = ms_json_string(member);
    if (strcmp(name, "source") == 0 || ms_job_option_find(name) != NULL || ms_json_is_null(member))
        return true;
    if (is_of_requests(name) && value == NULL)
        return wrong_json(name, "a string", problem);
    return set_option(out, name, value != NULL ? value : "", problem);
}

static bool take_upload(const struct ms_json *source, struct ms_song_request *out,
                        struct ms_problem *problem) {
    const char *id = ms_json_string(ms_json_get(source, "upload"));
    if (id == NULL)
        return ms_problem_set(problem, 422, "missing_source",
                              "the document names no source: {\"source\": {\"upload\": ID}}");
    if (!ms_upload_id_is_valid(id))
        return ms_problem_set(problem, 422, "unknown_upload", "there is no such upload");
    memcpy(out->upload, id, sizeof out->upload);
    return true;
}

static bool take_document(const void *body, size_t size, struct ms_song_request *out,
                          struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_json *document = NULL;
    const int rc = ms_json_parse(body, size, &document, &err);
    if (rc == MS_ENOMEM)
        return no_memory(problem);
    if (rc != 0)
        return ms_problem_set(problem, 400, "invalid_json", "the body is not JSON: %.300s",
                              err.text);
    bool ok = ms_json_is_object(document) ||
              ms_problem_set(problem, 400, "invalid_json", "the body must be a JSON object");
    if (ok && ms_job_options_from_json(document, &out->options, &err) != 0)
        ok = ms_problem_set(problem, 422, "invalid_option", "%.390s", err.text);
    for (const struct ms_json *at = ms_json_first(document); ok && at != NULL;
         at = ms_json_next(at))
        ok = take_member(at, out, problem);
    ok = ok && take_upload(ms_json_get(document, "source"), out, problem);
    ms_json_free(document);
    return ok;
}

/* curl --data-binary sends everything with the type of a form, which is not expected otherwise. */
static bool is_song_type(const char *type) {
    return type == NULL || *type == '\0' || strncasecmp(type, "audio/", 6) == 0 ||
           strncasecmp(type, "video/", 6) == 0 || ms_http_is_media_type(type, "application/ogg") ||
           ms_http_is_media_type(type, "application/octet-stream") ||
           ms_http_is_media_type(type, "application/x-www-form-urlencoded");
}

bool ms_song_request_v2(const char *content_type, const char *query, const void *body, size_t size,
                        int64_t max_song_bytes, struct ms_song_request *out,
                        struct ms_problem *problem) {
    begin(out);
    if (ms_http_is_media_type(content_type, "application/json"))
        return take_query(query, out, problem) && take_document(body, size, out, problem);
    const bool form = ms_http_is_media_type(content_type, "multipart/form-data");
    if (!form && !is_song_type(content_type))
        return ms_problem_set(
            problem, 415, "unsupported_media_type",
            "the Content-Type must be audio/*, video/*, application/octet-stream, "
            "or multipart/form-data with the song as \"file\"");
    if (!take_query(query, out, problem))
        return false;
    out->song = form ? NULL : body;
    out->song_bytes = form ? 0 : size;
    if (form && !take_form(content_type, body, size, out, problem))
        return false;
    return (int64_t)out->song_bytes <= max_song_bytes ||
           ms_problem_set(problem, 413, "too_large",
                          "the song is too large; at most %lld bytes are accepted",
                          (long long)max_song_bytes);
}
