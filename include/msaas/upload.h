/* Uploads: songs that come in pieces, over several requests and perhaps to several servers.
 *
 * All that is known of an upload lies in the store, in the bucket of the songs: the record
 * `uploads/ID/record` says what is to come, each `uploads/ID/NUMBER.OFFSET` is a piece that has
 * come. NUMBER counts down, so that the first key of the list is the newest piece: its end is how
 * far the upload is. A piece is stored only where none is at its offset, so of two writers one
 * wins, and the pieces have neither gaps nor overlaps. Nothing is ever changed: what a killed
 * server began is either a piece or not.
 *
 * The store is the caller's, on its thread. Errors of the store are returned as they are. */
#ifndef MSAAS_UPLOAD_H
#define MSAAS_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"
#include "msaas/store.h"

#define MS_UPLOAD_ID_BYTES 33         /* random hex digits, with the final NUL */
#define MS_UPLOAD_OWNER_BYTES 33      /* as MS_ACCOUNT_NAME_BYTES */
#define MS_UPLOAD_METADATA_BYTES 2048 /* of the client's own text, with the final NUL */
#define MS_UPLOAD_PIECE_BYTES (INT64_C(8) << 20)
#define MS_UPLOAD_MAX_PIECES 10000
#define MS_UPLOAD_KEEP_S 86400 /* until one expires, unless told otherwise */

struct ms_upload {
    char id[MS_UPLOAD_ID_BYTES];
    char owner[MS_UPLOAD_OWNER_BYTES]; /* "": nobody's: there were no accounts */
    int64_t length;                    /* of the song */
    int64_t created_ms, expires_ms;    /* Unix time */
    char metadata[MS_UPLOAD_METADATA_BYTES];
    /* How far it is, as found or after the last append. */
    int64_t offset;
    int pieces;
};

bool ms_upload_id_is_valid(const char *id);
/* Whether the text is as tus' Upload-Metadata must be: "KEY BASE64,KEY BASE64,...". out: the value
 * of `key`, "" where there is none that fits. */
bool ms_upload_metadata_read(const char *text, const char *key, char *out, size_t capacity);
/* Stores a new upload; gives it its id. owner, length, times and metadata are the caller's. */
MS_MUST_CHECK int ms_upload_create(struct ms_store *store, struct ms_upload *upload,
                                   struct ms_error *err);
/* MS_ENOTFOUND: there is none, or the id is malformed; MS_ECORRUPT. Also of one that has expired
 * and was not swept yet: the caller compares the time. */
MS_MUST_CHECK int ms_upload_find(struct ms_store *store, const char *id, struct ms_upload *upload,
                                 struct ms_error *err);
/* Stores the next piece, at upload->offset, which moves on. MS_ECONFLICT: another one is there;
 * MS_ETOOLARGE: more bytes than the length, or too many pieces. No bytes: does nothing. */
MS_MUST_CHECK int ms_upload_append(struct ms_store *store, struct ms_upload *upload,
                                   const void *bytes, size_t size, struct ms_error *err);
/* A URL of the store that takes the whole of an upload to which nothing has come yet.
 * MS_EUNSUPPORTED as ms_store_presign_put. */
MS_MUST_CHECK int ms_upload_presign(struct ms_store *store, const struct ms_upload *upload,
                                    int seconds, char **url, struct ms_error *err);
/* Removes it, newest piece first, the record last. 0 also where there is none. */
MS_MUST_CHECK int ms_upload_remove(struct ms_store *store, const char *id, struct ms_error *err);
/* Removes what is at least age_s old of all uploads; *count: how many objects. */
MS_MUST_CHECK int ms_upload_sweep(struct ms_store *store, int64_t age_s, int *count,
                                  struct ms_error *err);

/* Reading an upload that is complete: holds one block of it in memory. */
struct ms_upload_reader;
MS_MUST_CHECK int ms_upload_open(struct ms_store *store, const struct ms_upload *upload,
                                 struct ms_upload_reader **out, struct ms_error *err);
/* [offset, offset + size), which must lie in it; fast where offsets grow. Fits
 * ms_object_source.read; context: the reader. */
int ms_upload_read(void *context, int64_t offset, void *buffer, size_t size, struct ms_error *err);
void ms_upload_close(struct ms_upload_reader *reader);

#endif
