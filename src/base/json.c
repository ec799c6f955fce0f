/* JSON in and out; the only user of cJSON. A document owns its nodes; any thread, one object one
 * thread at a time.
 *
 * cJSON is lenient where JSON is not (control characters, numbers like 01, bytes that are no UTF-8)
 * and cuts strings at \u0000, so the text is checked first, in one pass that also bounds depth and
 * number of values. What remains for cJSON is the grammar of commas, colons, brackets and words. */
#include "msaas/json.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/text.h"

#define MAX_BYTES ((size_t)256 << 20)
#define MAX_DEPTH 64
#define MAX_VALUES                                                                                 \
    1000000 /* a node takes 64 bytes: two bytes of text must not grow to that without end */

/* Past the string whose opening quote stands at `at`; NULL and *fault when it is not one. */
static const unsigned char *check_string(const unsigned char *at, const unsigned char *end,
                                         const char **fault) {
    for (at++; at < end && *at != '"';) {
        if (*at == '\\') {
            if (end - at < 2)
                break;
            if (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0) {
                *fault = "a NUL in a string";
                return NULL;
            }
            at += 2; /* which escapes there are is cJSON's to know */
            continue;
        }
        size_t length = ms_utf8_read(at, (size_t)(end - at), NULL);
        if (length == 0 || *at < 0x20) {
            *fault = length == 0 ? "bytes that are not UTF-8" : "a control character in a string";
            return NULL;
        }
        at += length;
    }
    if (at < end && *at == '"')
        return at + 1;
    *fault = "a string without an end";
    return NULL;
}

static const unsigned char *skip_digits(const unsigned char *at, const unsigned char *end) {
    while (at < end && isdigit(*at))
        at++;
    return at;
}

/* Past the number at `at`; NULL when it is not JSON's form: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE]
 * [+-]? [0-9]+)? */
static const unsigned char *check_number(const unsigned char *at, const unsigned char *end) {
    at += *at == '-';
    const unsigned char *digits = at;
    at = skip_digits(at, end);
    if (at == digits || (*digits == '0' && at - digits > 1))
        return NULL;
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits)
            return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        digits = at;
        at = skip_digits(at, end);
        if (at == digits)
            return NULL;
    }
    return at;
}

static int fault_at(struct ms_error *err, const char *text, const unsigned char *at,
                    const char *fault) {
    return ms_error_set(err, MS_EINPUT, "not valid JSON: %s at byte %zu", fault,
                        (size_t)(at - (const unsigned char *)text));
}

static int check_text(const char *text, size_t size, struct ms_error *err) {
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char *end = at + size;
    int depth = 0;
    int values = 0;
    while (at < end) {
        const char *fault = NULL;
        const unsigned char *next = at + 1;
        switch (*at) {
        case '"': next = check_string(at, end, &fault); break;
        case '[':
        case '{':
            values++;
            if (++depth > MAX_DEPTH)
                fault = "nested too deep";
            break;
        case ']':
        case '}': depth--; break;
        case ',': values++; break;
        case ' ':
        case '\t':
        case '\r':
        case '\n':
        case ':': break;
        default:
            if (*at == '-' || isdigit(*at)) {
                next = check_number(at, end);
                fault = next == NULL ? "a malformed number" : NULL;
            } else if (!isalpha(*at)) {
                fault = "an unexpected character";
            }
        }
        if (values > MAX_VALUES)
            fault = "too many values";
        if (fault != NULL)
            return fault_at(err, text, at, fault);
        at = next;
    }
    return 0;
}

int ms_json_parse(const char *text, size_t size, struct ms_json **out, struct ms_error *err) {
    if (size > MAX_BYTES)
        return ms_error_set(err, MS_EINPUT, "JSON of %zu bytes is too large", size);
    int rc = check_text(text, size, err);
    if (rc != 0)
        return rc;
    const char *end = text;
    cJSON *root = cJSON_ParseWithLengthOpts(text, size, &end, 0);
    if (root == NULL)
        return fault_at(err, text, (const unsigned char *)end, "a fault of the grammar");
    while (end < text + size && strchr(" \t\r\n", *end) != NULL)
        end++;
    if (end != text + size) {
        cJSON_Delete(root);
        return fault_at(err, text, (const unsigned char *)end, "something after the end");
    }
    *out = (struct ms_json *)root;
    return 0;
}

/* ---- members without parsing: each step takes a place and gives the next, NULL for none ---- */

static const char *skip_space(const char *at, const char *end) {
    while (at != NULL && at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at != NULL && at < end ? at : NULL;
}

/* From a string's opening quote to behind its closing one. */
static const char *skip_string(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at + 1 : NULL;
}

/* From a value's first byte to behind its last, whatever it is. */
static const char *skip_value(const char *at, const char *end) {
    int depth = 0;
    while (at != NULL && at < end) {
        const bool ends = depth == 0 && strchr(" \t\r\n,}]", *at) != NULL;
        if (ends)
            return at;
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
        at = *at == '"' ? skip_string(at, end) : at + 1;
    }
    return at;
}

bool ms_json_member_text(const char *text, size_t size, const char *name, const char **value,
                         size_t *value_size) {
    const char *end = text + size, *at = skip_space(text, end);
    const size_t length = strlen(name);
    char before = '{';
    while (at != NULL && *at == before) {
        const char *const found = skip_space(at + 1, end);
        if (found == NULL || *found != '"' || (at = skip_string(found, end)) == NULL)
            return false;
        const bool is_it =
            (size_t)(at - found) == length + 2 && memcmp(found + 1, name, length) == 0;
        at = skip_space(at, end);
        if (at == NULL || *at != ':' || (*value = skip_space(at + 1, end)) == NULL ||
            (at = skip_value(*value, end)) == NULL)
            return false;
        *value_size = (size_t)(at - *value);
        if (is_it)
            return *value_size > 0;
        at = skip_space(at, end);
        before = ',';
    }
    return false;
}

void ms_json_free(struct ms_json *document) {
    cJSON_Delete((cJSON *)document);
}

/* ---- walking: a node is cJSON's own ---- */

static const cJSON *node_of(const struct ms_json *node) {
    return (const cJSON *)node;
}

const struct ms_json *ms_json_get(const struct ms_json *object, const char *name) {
    if (!ms_json_is_object(object))
        return NULL;
    return (const struct ms_json *)cJSON_GetObjectItemCaseSensitive(node_of(object), name);
}

const struct ms_json *ms_json_first(const struct ms_json *array_or_object) {
    return array_or_object == NULL ? NULL : (const struct ms_json *)node_of(array_or_object)->child;
}

const struct ms_json *ms_json_next(const struct ms_json *element) {
    return element == NULL ? NULL : (const struct ms_json *)node_of(element)->next;
}

const char *ms_json_name(const struct ms_json *member) {
    return member == NULL ? NULL : node_of(member)->string;
}

size_t ms_json_count(const struct ms_json *array_or_object) {
    size_t count = 0;
    for (const struct ms_json *at = ms_json_first(array_or_object); at; at = ms_json_next(at))
        count++;
    return count;
}

bool ms_json_is_object(const struct ms_json *node) {
    return cJSON_IsObject(node_of(node));
}

bool ms_json_is_array(const struct ms_json *node) {
    return cJSON_IsArray(node_of(node));
}

bool ms_json_is_null(const struct ms_json *node) {
    return cJSON_IsNull(node_of(node));
}

const char *ms_json_string(const struct ms_json *node) {
    return cJSON_IsString(node_of(node)) ? node_of(node)->valuestring : NULL;
}

bool ms_json_double(const struct ms_json *node, double *value) {
    if (!cJSON_IsNumber(node_of(node)) || !isfinite(node_of(node)->valuedouble))
        return false; /* 1e999 is a number of JSON, but none of ours */
    *value = node_of(node)->valuedouble;
    return true;
}

bool ms_json_int(const struct ms_json *node, int64_t *value) {
    double number = 0;
    if (!ms_json_double(node, &number) || fabs(number) > 0x1p53 || number != trunc(number))
        return false;
    *value = (int64_t)number;
    return true;
}

bool ms_json_bool(const struct ms_json *node, bool *value) {
    if (!cJSON_IsBool(node_of(node)))
        return false;
    *value = cJSON_IsTrue(node_of(node)) != 0;
    return true;
}

/* The same JSON, without what steers a terminal. Takes the text. */
static char *escape_all(char *text) {
    const size_t size = strlen(text);
    size_t found = 0, length;
    uint32_t code = 0;
    for (size_t i = 0; i < size; i += length > 0 ? length : 1) {
        length = ms_utf8_read(text + i, size - i, &code);
        found += length > 0 && !ms_char_is_plain(code);
    }
    if (found == 0)
        return text;
    char *escaped = malloc(size + 6 * found + 1), *to = escaped;
    for (size_t i = 0; escaped != NULL && i < size; i += length > 0 ? length : 1) {
        length = ms_utf8_read(text + i, size - i, &code);
        if (length > 0 && !ms_char_is_plain(code)) {
            to += sprintf(to, "\\u%04x", (unsigned)code);
        } else {
            memcpy(to, text + i, length > 0 ? length : 1);
            to += length > 0 ? length : 1;
        }
    }
    if (escaped != NULL)
        *to = '\0';
    free(text);
    return escaped;
}

char *ms_json_print(const struct ms_json *node) {
    char *text = node == NULL ? NULL : cJSON_PrintUnformatted(node_of(node));
    return text == NULL ? NULL : escape_all(text);
}

/* ---- writing ---- */

struct ms_json_writer {
    FILE *stream; /* into memory; latches errors */
    char *text;
    size_t size;
    bool comma; /* whether the next value follows another one */
    bool failed;
};

struct ms_json_writer *ms_json_writer_new(void) {
    struct ms_json_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return NULL;
    writer->stream = open_memstream(&writer->text, &writer->size);
    if (writer->stream == NULL) {
        free(writer);
        return NULL;
    }
    return writer;
}

void ms_json_writer_free(struct ms_json_writer *writer) {
    if (writer == NULL)
        return;
    (void)fclose(writer->stream);
    free(writer->text);
    free(writer);
}

static void put_quoted(FILE *to, const char *value) {
    const unsigned char *at = (const unsigned char *)value;
    const unsigned char *end = at + strlen(value);
    (void)fputc('"', to);
    while (at < end) {
        const unsigned char *plain = at; /* at one go, as far as nothing has to be escaped */
        uint32_t code = 0;
        size_t length = 0;
        while (at < end && (length = ms_utf8_read(at, (size_t)(end - at), &code)) > 0 &&
               ms_char_is_plain(code) && code != '"' && code != '\\')
            at += length;
        (void)fwrite(plain, 1, (size_t)(at - plain), to);
        if (at == end)
            break;
        if (length == 0)
            (void)fputs("\xEF\xBF\xBD", to); /* U+FFFD */
        else if (code == '"' || code == '\\')
            (void)fprintf(to, "\\%c", (int)code);
        else if (code == '\n')
            (void)fputs("\\n", to);
        else
            (void)fprintf(to, "\\u%04x", (unsigned)code);
        at += length > 0 ? length : 1;
    }
    (void)fputc('"', to);
}

/* Comma and name, whatever the value. */
static FILE *begin_value(struct ms_json_writer *writer, const char *name) {
    if (writer->comma)
        (void)fputc(',', writer->stream);
    if (name != NULL) {
        put_quoted(writer->stream, name);
        (void)fputc(':', writer->stream);
    }
    writer->comma = true;
    return writer->stream;
}

static void begin_nest(struct ms_json_writer *writer, const char *name, char bracket) {
    (void)fputc(bracket, begin_value(writer, name));
    writer->comma = false;
}

static void end_nest(struct ms_json_writer *writer, char bracket) {
    (void)fputc(bracket, writer->stream);
    writer->comma = true;
}

void ms_json_begin_object(struct ms_json_writer *writer, const char *name) {
    begin_nest(writer, name, '{');
}

void ms_json_end_object(struct ms_json_writer *writer) {
    end_nest(writer, '}');
}

void ms_json_begin_array(struct ms_json_writer *writer, const char *name) {
    begin_nest(writer, name, '[');
}

void ms_json_end_array(struct ms_json_writer *writer) {
    end_nest(writer, ']');
}

void ms_json_put_string(struct ms_json_writer *writer, const char *name, const char *value) {
    FILE *to = begin_value(writer, name);
    if (value == NULL)
        (void)fputs("null", to);
    else
        put_quoted(to, value);
}

void ms_json_put_int(struct ms_json_writer *writer, const char *name, int64_t value) {
    (void)fprintf(begin_value(writer, name), "%lld", (long long)value);
}

void ms_json_put_double(struct ms_json_writer *writer, const char *name, double value) {
    if (isfinite(value))
        (void)fprintf(begin_value(writer, name), "%.6g", value);
    else
        ms_json_put_null(writer, name);
}

void ms_json_put_bool(struct ms_json_writer *writer, const char *name, bool value) {
    (void)fputs(value ? "true" : "false", begin_value(writer, name));
}

void ms_json_put_null(struct ms_json_writer *writer, const char *name) {
    (void)fputs("null", begin_value(writer, name));
}

void ms_json_put_node(struct ms_json_writer *writer, const char *name, const struct ms_json *node) {
    char *text = ms_json_print(node);
    writer->failed = writer->failed || (node != NULL && text == NULL);
    (void)fputs(text == NULL ? "null" : text, begin_value(writer, name));
    free(text);
}

const char *ms_json_writer_text(struct ms_json_writer *writer, size_t *size) {
    if (fflush(writer->stream) != 0 || ferror(writer->stream) || writer->failed)
        return NULL;
    if (size != NULL)
        *size = writer->size;
    return writer->text;
}
