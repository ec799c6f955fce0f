/* JSON in and out; the only user of cJSON. A document owns its nodes. Any thread; one thread at a
 * time for each object.
 *
 * cJSON accepts more than JSON (control characters, numbers like 01, bytes that are not UTF-8) and
 * cuts strings at \u0000, so the text is checked first, in one pass that also bounds the depth and
 * the number of values. The grammar of commas, colons, brackets and words is left to cJSON. */
#include "msaas/json.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "msaas/text.h"

#define MAX_BYTES ((size_t)256 << 20)
#define MAX_DEPTH 64
/* A value of two bytes becomes a node of 64 bytes: their number has to be bounded. */
#define MAX_VALUES 1000000

/* The end of the string whose opening quote is at `at`; NULL and *fault if it is malformed. */
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
            at += 2; /* cJSON knows which escapes there are */
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

/* The end of the number at `at`; NULL unless it has the form of JSON: -? (0 | [1-9][0-9]*) (.
 * [0-9]+)? ([eE] [+-]? [0-9]+)? */
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
        return fault_at(err, text, (const unsigned char *)end, "a syntax error");
    while (end < text + size && strchr(" \t\r\n", *end) != NULL)
        end++;
    if (end != text + size) {
        cJSON_Delete(root);
        return fault_at(err, text, (const unsigned char *)end, "text after the end");
    }
    *out = (struct ms_json *)root;
    return 0;
}

/* ---- members without parsing: each step returns the next place, NULL if there is none ---- */

static const char *skip_space(const char *at, const char *end) {
    while (at != NULL && at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at != NULL && at < end ? at : NULL;
}

/* From the opening quote of a string to behind its closing quote. */
static const char *skip_string(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at + 1 : NULL;
}

/* From the first byte of a value of any type to behind its last. */
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

/* ---- walking: a node is a node of cJSON ---- */

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
        return false; /* 1e999 is valid JSON, but too large for a double */
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

/* The same JSON with escapes for all characters that could steer a terminal. Takes the text. */
static char *escape_all(char *text) {
    const size_t size = strlen(text);
    char *escaped = malloc(6 * size + 1), *to = escaped;
    size_t length;
    for (size_t i = 0; escaped != NULL && i < size; i += length > 0 ? length : 1) {
        uint32_t code = 0;
        length = ms_utf8_read(text + i, size - i, &code);
        if (length > 0 && !ms_char_is_plain(code))
            to += sprintf(to, "\\u%04x", (unsigned)code);
        else
            to = mempcpy(to, text + i, length > 0 ? length : 1);
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

/* ---- writing: a tree of cJSON's, printed at the end ---- */

struct ms_json_writer {
    cJSON *root;
    cJSON *open[MAX_DEPTH]; /* objects and arrays that have not ended, from the outermost */
    int depth;
    bool failed;
    char *text;
};

struct ms_json_writer *ms_json_writer_new(void) {
    return calloc(1, sizeof(struct ms_json_writer));
}

void ms_json_writer_free(struct ms_json_writer *writer) {
    if (writer == NULL)
        return;
    cJSON_Delete(writer->root);
    free(writer->text);
    free(writer);
}

/* Takes the item; NULL: there was no memory for it. */
static void put(struct ms_json_writer *writer, const char *name, cJSON *item) {
    cJSON *const parent = writer->depth > 0 ? writer->open[writer->depth - 1] : NULL;
    bool done = item != NULL;
    if (parent == NULL && writer->root == NULL)
        writer->root = item;
    else
        done = done && (name != NULL ? cJSON_AddItemToObject(parent, name, item)
                                     : cJSON_AddItemToArray(parent, item));
    if (done)
        return;
    writer->failed = true;
    cJSON_Delete(item);
}

static void begin_nest(struct ms_json_writer *writer, const char *name, cJSON *item) {
    put(writer, name, item);
    writer->failed = writer->failed || writer->depth == MAX_DEPTH;
    if (!writer->failed)
        writer->open[writer->depth++] = item;
}

static void end_nest(struct ms_json_writer *writer) {
    if (!writer->failed)
        writer->depth--;
}

void ms_json_begin_object(struct ms_json_writer *writer, const char *name) {
    begin_nest(writer, name, cJSON_CreateObject());
}

void ms_json_end_object(struct ms_json_writer *writer) {
    end_nest(writer);
}

void ms_json_begin_array(struct ms_json_writer *writer, const char *name) {
    begin_nest(writer, name, cJSON_CreateArray());
}

void ms_json_end_array(struct ms_json_writer *writer) {
    end_nest(writer);
}

/* cJSON takes any bytes: what is not UTF-8 becomes U+FFFD here. */
static cJSON *new_string(const char *value) {
    static const char replacement[] = "\xEF\xBF\xBD";
    if (value == NULL)
        return cJSON_CreateNull();
    if (ms_is_utf8(value))
        return cJSON_CreateString(value);
    size_t size = strlen(value), length;
    char *text = malloc(3 * size + 1), *to = text;
    for (size_t i = 0; text != NULL && i < size; i += length > 0 ? length : 1) {
        length = ms_utf8_read(value + i, size - i, NULL);
        to = mempcpy(to, length > 0 ? value + i : replacement, length > 0 ? length : 3);
    }
    if (text == NULL)
        return NULL;
    *to = '\0';
    cJSON *item = cJSON_CreateString(text);
    free(text);
    return item;
}

void ms_json_put_string(struct ms_json_writer *writer, const char *name, const char *value) {
    put(writer, name, new_string(value));
}

/* As text, because the numbers of cJSON are doubles. */
void ms_json_put_int(struct ms_json_writer *writer, const char *name, int64_t value) {
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    put(writer, name, cJSON_CreateRaw(text));
}

void ms_json_put_double(struct ms_json_writer *writer, const char *name, double value) {
    char text[32];
    (void)snprintf(text, sizeof text, "%.6g", value);
    put(writer, name, isfinite(value) ? cJSON_CreateRaw(text) : cJSON_CreateNull());
}

void ms_json_put_bool(struct ms_json_writer *writer, const char *name, bool value) {
    put(writer, name, cJSON_CreateBool(value));
}

void ms_json_put_null(struct ms_json_writer *writer, const char *name) {
    put(writer, name, cJSON_CreateNull());
}

void ms_json_put_time(struct ms_json_writer *writer, const char *name, int64_t unix_ms) {
    const time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    char date[64] = "", text[80];
    if (unix_ms <= 0 || gmtime_r(&seconds, &tm) == NULL ||
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        ms_json_put_null(writer, name);
        return;
    }
    (void)snprintf(text, sizeof text, "%s.%03dZ", date, (int)(unix_ms % 1000));
    ms_json_put_string(writer, name, text);
}

void ms_json_put_json(struct ms_json_writer *writer, const char *name, const char *json) {
    put(writer, name, json != NULL ? cJSON_CreateRaw(json) : cJSON_CreateNull());
}

const char *ms_json_writer_text(struct ms_json_writer *writer, size_t *size) {
    free(writer->text);
    writer->text = writer->failed ? NULL : ms_json_print((const struct ms_json *)writer->root);
    if (writer->text != NULL && size != NULL)
        *size = strlen(writer->text);
    return writer->text;
}
