/* An object of the store, read from the beginning in large pieces, and again where a reader goes
 * back a little. */
#ifndef MSAAS_RENDER_OBJECT_H
#define MSAAS_RENDER_OBJECT_H

#include "msaas/media.h"
#include "msaas/store.h"

struct ms_object {
    struct ms_store *store;
    const char *key; /* borrowed */
    int64_t bytes;   /* as the job's record says */
    char etag[80];   /* of the first piece; it must not change */
    size_t piece_bytes;
    char *piece; /* of the object, [at, at + size) */
    int64_t at;
    size_t size;
};

/* Reads the first piece. MS_ENOTFOUND; MS_ECORRUPT: it has not this size. After a failure only
 * _close is allowed. */
MS_MUST_CHECK int ms_object_open(struct ms_object *object, struct ms_store *store, const char *key,
                                 int64_t bytes, size_t piece_bytes, struct ms_error *err);
void ms_object_close(struct ms_object *object);
/* As `read` of struct ms_media_source; context: the object. */
int ms_object_read(void *context, int64_t at, void *buffer, size_t size, size_t *got,
                   struct ms_error *err);

#endif
