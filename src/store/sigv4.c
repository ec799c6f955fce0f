/* AWS Signature Version 4, as S3 wants it: the last step before a request leaves, or a presigned
 * URL. Pure; owns only what it returns; any thread. */
#include "msaas/sigv4.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/digest.h"
#include "msaas/sys.h"
#include "msaas/url.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define DATE_BYTES 8 /* of "20130524T000000Z" */
#define MAX_PARAMETERS 64
#define MAX_HEADERS 32
#define MAX_TEXT_BYTES (1 << 20)

/* A text that grows. A failure sticks, so that it is checked once, at the end. */
struct text {
    char *bytes;
    size_t size, capacity;
    bool failed;
};

static void add_bytes(struct text *text, const char *bytes, size_t size) {
    if (!text->failed && text->size + size + 1 > text->capacity) {
        const size_t capacity = 2 * (text->size + size + 1);
        char *grown = capacity <= MAX_TEXT_BYTES ? realloc(text->bytes, capacity) : NULL;
        text->failed = grown == NULL;
        if (grown != NULL) {
            text->bytes = grown;
            text->capacity = capacity;
        }
    }
    if (text->failed || text->bytes == NULL)
        return;
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = '\0';
}

static void add(struct text *text, const char *string) {
    add_bytes(text, string, strlen(string));
}

static void add_encoded(struct text *text, const char *string) {
    char *encoded = ms_percent_encode(string, false);
    if (encoded == NULL)
        text->failed = true;
    else
        add(text, encoded);
    free(encoded);
}

/* ---- the parts of a canonical request ---- */

struct pair {
    const char *name, *value;
    size_t name_size, value_size;
};

static int compare_bytes(const char *a, size_t a_size, const char *b, size_t b_size) {
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_pairs(const void *left, const void *right) {
    const struct pair *a = left, *b = right;
    const int order = compare_bytes(a->name, a->name_size, b->name, b->name_size);
    return order != 0 ? order : compare_bytes(a->value, a->value_size, b->value, b->value_size);
}

/* Sorted by name, then by value. Whole strings would sort otherwise, since '=' comes after '%' and
 * '-'. */
static int add_query(struct text *out, const char *query, struct ms_error *err) {
    struct pair pairs[MAX_PARAMETERS];
    size_t count = 0;
    while (*query != '\0') {
        const size_t size = strcspn(query, "&");
        const char *equals = memchr(query, '=', size);
        if (size > 0) {
            if (count == MAX_PARAMETERS)
                return ms_error_set(err, MS_EUSAGE, "over %d parameters in a query to be signed",
                                    MAX_PARAMETERS);
            pairs[count] = (struct pair){.name = query, .name_size = size, .value = ""};
            if (equals != NULL) {
                pairs[count].name_size = (size_t)(equals - query);
                pairs[count].value = equals + 1;
                pairs[count].value_size = size - pairs[count].name_size - 1;
            }
            count++;
        }
        query += size + (query[size] == '&');
    }
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            add(out, "&");
        add_bytes(out, pairs[i].name, pairs[i].name_size);
        add(out, "=");
        add_bytes(out, pairs[i].value, pairs[i].value_size);
    }
    return 0;
}

struct header {
    char *name;        /* lower case */
    const char *value; /* not trimmed yet */
};

static int compare_headers(const void *left, const void *right) {
    return strcmp(((const struct header *)left)->name, ((const struct header *)right)->name);
}

/* Drops white space around a value; within it, white space becomes one space. */
static void add_value(struct text *out, const char *value) {
    const size_t start = out->size;
    while (*value != '\0') {
        const size_t space = strspn(value, " \t"), word = strcspn(value + space, " \t");
        if (space > 0 && word > 0 && out->size > start)
            add(out, " ");
        add_bytes(out, value + space, word);
        value += space + word;
    }
}

/* Writes the block of headers and the list of their names. */
static int add_headers(const struct ms_sigv4_request *request, struct text *block,
                       struct text *names, struct ms_error *err) {
    struct header headers[MAX_HEADERS];
    size_t count = 0;
    headers[count++] = (struct header){.name = strdup("host"), .value = request->host};
    int rc = 0;
    for (const char *const *line = request->headers; line != NULL && *line != NULL; line++) {
        const size_t size = strcspn(*line, ":");
        if ((*line)[size] != ':' || size == 0 || count == MAX_HEADERS) {
            rc = ms_error_set(
                err, MS_EUSAGE,
                "a header to be signed has no name or no colon, or there are more than %d",
                MAX_HEADERS);
            goto out;
        }
        headers[count] = (struct header){.name = strndup(*line, size), .value = *line + size + 1};
        for (char *at = headers[count].name; at != NULL && *at != '\0'; at++)
            *at = (char)tolower((unsigned char)*at);
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        if (headers[i].name == NULL) {
            rc = ms_error_set(err, MS_ENOMEM, "no memory to sign a request");
            goto out;
        }
    }
    qsort(headers, count, sizeof *headers, compare_headers);
    for (size_t i = 0; i < count; i++) {
        add(block, headers[i].name);
        add(block, ":");
        add_value(block, headers[i].value);
        add(block, "\n");
        if (i > 0)
            add(names, ";");
        add(names, headers[i].name);
    }
out:
    for (size_t i = 0; i < count; i++)
        free(headers[i].name);
    return rc;
}

/* ---- signature ---- */

static int add_scope(struct text *out, const struct ms_sigv4_request *request,
                     struct ms_error *err) {
    if (strlen(request->amz_date) != 16 || request->amz_date[DATE_BYTES] != 'T')
        return ms_error_set(err, MS_EINTERNAL,
                            "\"%.20s\" is not a date of the form YYYYMMDDTHHMMSSZ",
                            request->amz_date);
    add_bytes(out, request->amz_date, DATE_BYTES);
    add(out, "/");
    add(out, request->region);
    add(out, "/");
    add(out, request->service);
    add(out, "/aws4_request");
    return 0;
}

static int sign(const struct ms_sigv4_request *request, const char *scope, const char *canonical,
                size_t canonical_size, char signature[MS_SHA256_HEX], struct ms_error *err) {
    const char *const steps[] = {request->region, request->service, "aws4_request"};
    char hash[MS_SHA256_HEX];
    char *secret = ms_strdupf("AWS4%s", request->secret_key);
    char *text = NULL;
    int rc = ms_sha256_of(canonical, canonical_size, hash, err);
    if (rc != 0)
        goto out;
    text = ms_strdupf(ALGORITHM "\n%s\n%s\n%s", request->amz_date, scope, hash);
    if (secret == NULL || text == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory to sign a request");
        goto out;
    }
    unsigned char key[MS_SHA256_BYTES];
    rc = ms_hmac_sha256(secret, strlen(secret), request->amz_date, DATE_BYTES, key, err);
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = ms_hmac_sha256(key, sizeof key, steps[i], strlen(steps[i]), key, err);
    if (rc == 0)
        rc = ms_hmac_sha256(key, sizeof key, text, strlen(text), key, err);
    if (rc != 0)
        goto out;
    for (size_t i = 0; i < sizeof key; i++)
        snprintf(signature + 2 * i, 3, "%02x", key[i]);
out:
    explicit_bzero(key, sizeof key);
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
    free(text);
    return rc;
}

/* Writes the canonical request, which is what is signed. names: of the headers in `block`. */
static void add_canonical(struct text *out, const struct ms_sigv4_request *request,
                          const struct text *query, const struct text *block,
                          const struct text *names) {
    add(out, request->method);
    add(out, "\n");
    add(out, request->path);
    add(out, "\n");
    if (query->size > 0)
        add_bytes(out, query->bytes, query->size);
    add(out, "\n");
    if (block->size > 0)
        add_bytes(out, block->bytes, block->size);
    add(out, "\n");
    if (names->size > 0)
        add_bytes(out, names->bytes, names->size);
    add(out, "\n");
    add(out, request->payload_sha256);
    out->failed = out->failed || query->failed || block->failed || names->failed;
}

int ms_sigv4_authorization(const struct ms_sigv4_request *request,
                           char out[MS_SIGV4_AUTHORIZATION_MAX], struct ms_error *err) {
    struct text query = {0}, block = {0}, names = {0}, canonical = {0};
    int rc = add_query(&query, request->query, err);
    if (rc == 0)
        rc = add_headers(request, &block, &names, err);
    struct text scope = {0};
    if (rc == 0)
        rc = add_scope(&scope, request, err);
    if (rc != 0)
        goto out;
    add_canonical(&canonical, request, &query, &block, &names);
    if (canonical.failed || scope.failed) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory to sign a request");
        goto out;
    }
    char signature[MS_SHA256_HEX];
    rc = sign(request, scope.bytes, canonical.bytes, canonical.size, signature, err);
    if (rc != 0)
        goto out;
    const int size = snprintf(out, MS_SIGV4_AUTHORIZATION_MAX,
                              ALGORITHM " Credential=%s/%s,SignedHeaders=%s,Signature=%s",
                              request->access_key, scope.bytes, names.bytes, signature);
    if (size >= MS_SIGV4_AUTHORIZATION_MAX)
        rc =
            ms_error_set(err, MS_EUSAGE, "the access key or the headers are too long to be signed");
out:
    free(query.bytes);
    free(block.bytes);
    free(names.bytes);
    free(scope.bytes);
    free(canonical.bytes);
    return rc;
}

int ms_sigv4_presign(const struct ms_sigv4_request *request, int expires_s, char **query,
                     struct ms_error *err) {
    struct text raw = {0}, sorted = {0}, canonical = {0};
    *query = NULL;
    struct text block = {0}, names = {0};
    int rc = add_headers(request, &block, &names, err);
    struct text scope = {0};
    if (rc == 0)
        rc = add_scope(&scope, request, err);
    if (rc == 0 && (scope.failed || names.failed))
        rc = ms_error_set(err, MS_ENOMEM, "no memory to sign a URL");
    if (rc != 0)
        goto out;
    char number[16];
    snprintf(number, sizeof number, "%d", expires_s);
    add(&raw, request->query);
    add(&raw, "&X-Amz-Algorithm=" ALGORITHM "&X-Amz-Credential=");
    add_encoded(&raw, request->access_key);
    add(&raw, "%2F");
    add_encoded(&raw, scope.bytes);
    add(&raw, "&X-Amz-Date=");
    add(&raw, request->amz_date);
    add(&raw, "&X-Amz-Expires=");
    add(&raw, number);
    add(&raw, "&X-Amz-SignedHeaders=");
    add_encoded(&raw, names.bytes);
    if (request->session_token != NULL) {
        add(&raw, "&X-Amz-Security-Token=");
        add_encoded(&raw, request->session_token);
    }
    if (!raw.failed)
        rc = add_query(&sorted, raw.bytes, err);
    if (rc != 0)
        goto out;
    add_canonical(&canonical, request, &sorted, &block, &names);
    if (canonical.failed || raw.failed) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory to sign a URL");
        goto out;
    }
    char signature[MS_SHA256_HEX];
    rc = sign(request, scope.bytes, canonical.bytes, canonical.size, signature, err);
    if (rc != 0)
        goto out;
    *query = ms_strdupf("%s&X-Amz-Signature=%s", sorted.bytes, signature);
    if (*query == NULL)
        rc = ms_error_set(err, MS_ENOMEM, "no memory to sign a URL");
out:
    free(raw.bytes);
    free(sorted.bytes);
    free(block.bytes);
    free(names.bytes);
    free(scope.bytes);
    free(canonical.bytes);
    return rc;
}
