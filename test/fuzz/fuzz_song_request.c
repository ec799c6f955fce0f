/* Any bytes as a POST that brings a song. The first byte chooses the form, the query goes to the
 * first line's end, the rest is the body. What is taken lies in the body, and its options fit their
 * places; what is refused has a status and a reason. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sniff.h"
#include "song_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define MAX_SONG_BYTES 1000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char *const types[] = {"multipart/form-data; boundary=x", "audio/mpeg",
                                        "application/json", NULL};
    const uint8_t *line = size > 0 ? memchr(bytes + 1, '\n', size - 1) : NULL;
    if (line == NULL)
        return 0;
    const size_t query_bytes = (size_t)(line - bytes) - 1, body_bytes = size - query_bytes - 2;
    char *query = malloc(query_bytes + 1), *body = malloc(body_bytes + 1);
    struct ms_song_request request;
    struct ms_problem problem = {0};
    if (query == NULL || body == NULL)
        abort();
    memcpy(query, bytes + 1, query_bytes);
    query[query_bytes] = '\0';
    memcpy(body, line + 1, body_bytes);
    body[body_bytes] = '\0';
    const bool ok = (bytes[0] & 4) != 0
                        ? ms_song_request_v1(body, body_bytes, MAX_SONG_BYTES, &request, &problem)
                        : ms_song_request_v2(types[bytes[0] & 3], query, body, body_bytes,
                                             MAX_SONG_BYTES, &request, &problem);
    const char *song = request.song;
    if (ok && (request.song_bytes > MAX_SONG_BYTES || song < body ||
               song + request.song_bytes > body + body_bytes))
        abort();
    if (ok && (request.options.stem_count > MS_JOB_MAX_STEMS ||
               strnlen(request.input_name, sizeof request.input_name) == sizeof request.input_name))
        abort();
    if (ok)
        (void)ms_sniff_is_media(request.song, request.song_bytes);
    if (!ok && (problem.status < 400 || problem.status > 503 || problem.code == NULL ||
                problem.text[0] == '\0'))
        abort();
    ms_song_request_fini(&request);
    free(query);
    free(body);
    return 0;
}
