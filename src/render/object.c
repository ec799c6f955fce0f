/* See object.h. Owns one piece. On its reader's thread, which waits for the store. */
#include "object.h"

#include <stdlib.h>
#include <string.h>

#include "msaas/job.h"

struct fetch {
    struct ms_object *object;
    struct ms_object_info info;
    bool checked;
};

static int take(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct fetch *fetch = context;
    struct ms_object *object = fetch->object;
    if (!fetch->checked) {
        if (fetch->info.bytes != object->bytes)
            return ms_error_set(err, MS_ECORRUPT,
                                "%s does not have the size that the job's record says",
                                object->key);
        if (object->etag[0] == '\0')
            memcpy(object->etag, fetch->info.etag, sizeof object->etag);
        else if (strcmp(object->etag, fetch->info.etag) != 0)
            return ms_error_set(err, MS_ECONFLICT, "%s was replaced while it was read",
                                object->key);
        fetch->checked = true;
    }
    if (size > object->piece_bytes - object->size)
        return ms_error_set(err, MS_EINTERNAL, "the store sent more of %s than was asked for",
                            object->key);
    memcpy(object->piece + object->size, bytes, size);
    object->size += size;
    return 0;
}

/* Makes the piece begin at `at`. */
static int fetch(struct ms_object *object, int64_t at, struct ms_error *err) {
    struct fetch call = {.object = object};
    object->at = at;
    object->size = 0;
    const int rc =
        ms_store_get(object->store, MS_BUCKET_STEMS, object->key, at,
                     at + (int64_t)object->piece_bytes - 1, take, &call, &call.info, err);
    if (rc == 0 && object->size == 0)
        return ms_error_set(err, MS_ECORRUPT, "%s ends too early", object->key);
    return rc;
}

int ms_object_open(struct ms_object *object, struct ms_store *store, const char *key, int64_t bytes,
                   size_t piece_bytes, struct ms_error *err) {
    *object =
        (struct ms_object){.store = store, .key = key, .bytes = bytes, .piece_bytes = piece_bytes};
    if (bytes <= 0)
        return ms_error_set(err, MS_ECORRUPT, "%s is empty", key);
    object->piece = malloc(piece_bytes);
    if (object->piece == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a piece of %s", key);
    return fetch(object, 0, err);
}

void ms_object_close(struct ms_object *object) {
    free(object->piece);
    object->piece = NULL;
}

int ms_object_read(void *context, int64_t at, void *buffer, size_t size, size_t *got,
                   struct ms_error *err) {
    struct ms_object *object = context;
    *got = 0;
    if (at >= object->bytes)
        return 0;
    if (at < object->at || at >= object->at + (int64_t)object->size) {
        const int rc = fetch(object, at, err);
        if (rc != 0)
            return rc;
    }
    const size_t from = (size_t)(at - object->at);
    *got = object->size - from < size ? object->size - from : size;
    memcpy(buffer, object->piece + from, *got);
    return 0;
}
