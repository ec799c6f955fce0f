/* Any bytes as they come from a connection: a head, then a body in the chunked coding. However the
 * bytes are cut into pieces, they must be read in one way. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "forwarded.h"
#include "msaas/http_range.h"
#include "origin.h"
#include "parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(int holds) {
    if (!holds)
        abort();
}

static void read_fields(const struct ms_http_head *head) {
    const char *range = ms_http_head_field(head, "range");
    int64_t first, count;
    if (ms_http_parse_range(range, 1000, &first, &count) != MS_HTTP_RANGE_NONE)
        check(first >= 0 && count > 0 && count <= 1000 - first);
    (void)ms_http_etag_matches(ms_http_head_field(head, "if-none-match"), "\"tag\"");
    (void)ms_http_if_range_holds(ms_http_head_field(head, "if-range"), "\"tag\"");
    struct ms_networks *trusted = NULL;
    uint8_t peer[16] = {0}, client[16];
    const struct ms_origin_rules rules = {true, "a.example", "https://b.example"};
    const char *reason = NULL;
    check(ms_networks_parse("::/127,10.0.0.0/8", &trusted, NULL) == 0);
    ms_forwarded_client(head, trusted, peer, client);
    (void)ms_forwarded_https(head);
    ms_networks_free(trusted);
    check((ms_origin_judge(head, &rules, true, &reason) == 0) == (reason == NULL));
}

/* Returns how many bytes are a head, 0 when there is none. */
static size_t read_head(const char *bytes, size_t size) {
    size_t scanned = 0, whole = 0;
    const char *reason = NULL;
    const int status = ms_http_scan_head(bytes, size, &scanned, &whole, &reason);
    scanned = 0;
    size_t pieces = 0;
    int by_pieces = 0;
    for (size_t some = 1; some <= size && by_pieces == 0 && pieces == 0; some++)
        by_pieces = ms_http_scan_head(bytes, some, &scanned, &pieces, &reason);
    check(pieces == whole && (by_pieces == 0) == (status == 0 || whole > 0));
    if (status != 0 || whole == 0)
        return 0;
    char *copy = malloc(whole);
    char *path = malloc(whole);
    if (copy == NULL || path == NULL)
        abort();
    memcpy(copy, bytes, whole);
    struct ms_http_head head;
    if (ms_http_parse_head(copy, whole, &head) == 0) {
        check(head.method[0] != '\0' && (head.path[0] == '/' || strcmp(head.path, "*") == 0));
        check(!head.chunked || head.content_length < 0);
        if (ms_http_decode_path(head.path, path))
            check(strlen(path) <= strlen(head.path) && strstr(path, "/../") == NULL);
        read_fields(&head);
    } else {
        check(head.reason != NULL);
    }
    free(copy);
    free(path);
    return whole;
}

/* Decodes in pieces of `step` into out; returns the last result, *length and *used. */
static int read_chunked(const char *bytes, size_t size, size_t step, char *out, size_t *length,
                        size_t *used) {
    struct ms_http_chunked chunked = {0};
    int rc = 0;
    *length = *used = 0;
    while (*used < size && rc == 0) {
        const size_t some = size - *used < step ? size - *used : step;
        const char *data;
        size_t taken, data_size;
        rc = ms_http_chunked_feed(&chunked, bytes + *used, some, &taken, &data, &data_size);
        check(taken > 0 && taken <= some && data_size <= taken);
        memcpy(out + *length, data, data_size);
        *length += data_size;
        *used += taken;
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const char *text = (const char *)bytes;
    const size_t head = read_head(text, size);
    text += head;
    size -= head;
    char *once = malloc(size + 1);
    char *by_pieces = malloc(size + 1);
    if (once == NULL || by_pieces == NULL)
        abort();
    size_t length, length_by_pieces, used, used_by_pieces;
    check(read_chunked(text, size, size + 1, once, &length, &used) ==
          read_chunked(text, size, 1, by_pieces, &length_by_pieces, &used_by_pieces));
    check(length == length_by_pieces && used == used_by_pieces &&
          memcmp(once, by_pieces, length) == 0);
    free(once);
    free(by_pieces);
    return 0;
}
