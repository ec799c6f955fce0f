/* See song_source.h. Owns the reader of an upload and its link. On the threads of the pool. */
#include "song_source.h"

#include <stdlib.h>
#include <string.h>

#include "reply.h"
#include "song_length.h"
#include "uploads.h"

static bool no_memory(struct ms_problem *problem) {
    return ms_problem_set(problem, 503, "no_memory", "the server is short of memory");
}

/* The upload may vanish while it is read. */
static bool problem_of_reading(struct ms_problem *problem, int rc, const struct ms_error *err) {
    if (rc == MS_ENOTFOUND)
        return ms_problem_set(problem, 422, "unknown_upload",
                              "the upload is gone: send the song again");
    return ms_problem_of_store(problem, err);
}

static bool read_head(struct ms_song_source *source, struct ms_problem *problem) {
    struct ms_error err = {0};
    source->head_bytes =
        source->bytes < (int64_t)MS_SONG_HEAD_BYTES ? (size_t)source->bytes : MS_SONG_HEAD_BYTES;
    source->copy = malloc(source->head_bytes + 1);
    source->head = source->copy;
    if (source->copy == NULL)
        return no_memory(problem);
    const int rc = ms_upload_read(source->reader, 0, source->copy, source->head_bytes, &err);
    if (rc != 0)
        return problem_of_reading(problem, rc, &err);
    source->seconds = ms_song_seconds(source->head, source->head_bytes, source->bytes);
    return true;
}

static bool open_upload(struct ms_api *api, const struct ms_account *caller,
                        struct ms_song_request *request, struct ms_song_source *source,
                        struct ms_problem *problem) {
    struct ms_upload *upload = &source->upload;
    source->link = ms_api_borrow(api, problem);
    if (source->link == NULL)
        return false;
    if (!ms_api_find_upload(source->link->store, caller, request->upload, upload, problem)) {
        if (problem->status == 404 || problem->status == 410)
            (void)ms_problem_set(problem, 422, "unknown_upload",
                                 "there is no such upload, or it has expired");
        return false;
    }
    if (upload->offset < upload->length)
        return ms_problem_set(problem, 409, "upload_incomplete",
                              "the upload has %lld of its %lld bytes: send the rest first",
                              (long long)upload->offset, (long long)upload->length);
    if (upload->length > api->options.max_song_bytes)
        return ms_problem_set(problem, 413, "too_large",
                              "the song is too large; at most %lld bytes are accepted",
                              (long long)api->options.max_song_bytes);
    if (request->input_name[0] == '\0')
        ms_api_upload_name(upload, request->input_name);
    source->bytes = upload->length;
    struct ms_error err = {0};
    const int rc = ms_upload_open(source->link->store, upload, &source->reader, &err);
    if (rc != 0)
        return problem_of_reading(problem, rc, &err);
    source->object = (struct ms_object_source){
        .read = ms_upload_read, .context = source->reader, .size = source->bytes};
    return read_head(source, problem);
}

bool ms_song_source_open(struct ms_api *api, const struct ms_account *caller,
                         struct ms_song_request *request, struct ms_song_source *out,
                         struct ms_problem *problem) {
    *out = (struct ms_song_source){0};
    if (request->upload[0] != '\0')
        return open_upload(api, caller, request, out, problem);
    out->head = request->song;
    out->bytes = (int64_t)request->song_bytes;
    out->head_bytes =
        request->song_bytes < MS_SONG_HEAD_BYTES ? request->song_bytes : MS_SONG_HEAD_BYTES;
    out->seconds = ms_song_seconds(out->head, out->head_bytes, out->bytes);
    out->object = (struct ms_object_source){.bytes = request->song, .size = out->bytes};
    return true;
}

/* Both digests in one pass: the store wants the other one. */
static int digest_upload(struct ms_song_source *source, char sha224[MS_SHA224_HEX],
                         struct ms_error *err) {
    struct ms_sha256 *id = NULL, *whole = NULL;
    char hex[MS_SHA256_HEX];
    int rc = ms_sha224_new(&id, err);
    if (rc == 0)
        rc = ms_sha256_new(&whole, err);
    for (int64_t at = 0; rc == 0 && at < source->bytes;) {
        const int64_t left = source->bytes - at;
        const size_t some = left < (int64_t)MS_SONG_HEAD_BYTES ? (size_t)left : MS_SONG_HEAD_BYTES;
        rc = ms_upload_read(source->reader, at, source->copy, some, err);
        if (rc != 0)
            break;
        ms_sha256_update(id, source->copy, some);
        ms_sha256_update(whole, source->copy, some);
        at += (int64_t)some;
    }
    if (rc == 0) {
        ms_sha256_hex(id, hex);
        memcpy(sha224, hex, MS_SHA224_HEX);
        ms_sha256_hex(whole, source->sha256);
        source->object.sha256 = source->sha256;
    }
    ms_sha256_free(id);
    ms_sha256_free(whole);
    return rc;
}

bool ms_song_source_digest(struct ms_song_source *source, char sha224[MS_SHA224_HEX],
                           struct ms_problem *problem) {
    struct ms_error err = {0};
    if (source->reader == NULL)
        return ms_sha224_of(source->object.bytes, (size_t)source->bytes, sha224, &err) == 0 ||
               ms_problem_set(problem, 500, "internal", "the server failed; its log says why");
    const int rc = digest_upload(source, sha224, &err);
    return rc == 0 || problem_of_reading(problem, rc, &err);
}

void ms_song_source_close(struct ms_api *api, struct ms_song_source *source) {
    ms_upload_close(source->reader);
    ms_api_give_back(api, source->link);
    free(source->copy);
    *source = (struct ms_song_source){0};
}
