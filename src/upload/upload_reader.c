/* The pieces of an upload, read as one file: by blocks, each of which is a part of one piece. Owns
 * the list of the pieces and one block; runs on the caller's thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/job.h"
#include "pieces.h"

#define PAGE 500

struct ms_upload_reader {
    struct ms_store *store;
    char id[MS_UPLOAD_ID_BYTES];
    struct ms_upload_piece *pieces; /* oldest first */
    int count;
    char *block;
    int64_t block_first, block_bytes; /* what of the upload is in it */
};

/* The pieces, which the list gives newest first, into their places. */
static int read_list(struct ms_upload_reader *reader, struct ms_error *err) {
    struct ms_object_entry *page = calloc(PAGE, sizeof *page);
    if (page == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory to read an upload");
    char folder[MS_UPLOAD_KEY_BYTES], after[MS_STORE_KEY_BYTES] = "";
    (void)snprintf(folder, sizeof folder, MS_UPLOAD_FOLDER "%s/", reader->id);
    int rc = 0;
    for (int count = 1; rc == 0 && count > 0;) {
        rc = ms_store_list(reader->store, MS_BUCKET_SONGS, folder, after, PAGE, page, &count, err);
        for (int i = 0; rc == 0 && i < count; i++) {
            struct ms_upload_piece piece;
            memcpy(after, page[i].key, sizeof after);
            if (ms_upload_piece_of(&page[i], reader->id, &piece) && piece.number < reader->count)
                reader->pieces[piece.number] = piece;
        }
    }
    free(page);
    return rc;
}

int ms_upload_open(struct ms_store *store, const struct ms_upload *upload,
                   struct ms_upload_reader **out, struct ms_error *err) {
    struct ms_upload_reader *reader = calloc(1, sizeof *reader);
    *out = NULL;
    if (reader == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory to read an upload");
    reader->store = store;
    memcpy(reader->id, upload->id, sizeof reader->id);
    reader->count = upload->pieces;
    reader->pieces = calloc((size_t)upload->pieces + 1, sizeof *reader->pieces);
    reader->block = malloc((size_t)MS_UPLOAD_PIECE_BYTES);
    int rc = reader->pieces != NULL && reader->block != NULL
                 ? read_list(reader, err)
                 : ms_error_set(err, MS_ENOMEM, "no memory to read an upload");
    int64_t end = 0;
    for (int i = 0; rc == 0 && i < reader->count; end += reader->pieces[i++].bytes)
        if (reader->pieces[i].offset != end || reader->pieces[i].number != i)
            rc = ms_error_set(err, MS_ENOTFOUND, "a piece of the upload is gone");
    if (rc == 0 && end != upload->length)
        rc = ms_error_set(err, MS_ENOTFOUND, "the upload is not complete");
    if (rc != 0) {
        ms_upload_close(reader);
        return rc;
    }
    *out = reader;
    return 0;
}

static int take_block(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct ms_upload_reader *reader = context;
    if ((int64_t)size > MS_UPLOAD_PIECE_BYTES - reader->block_bytes)
        return ms_error_set(err, MS_ECORRUPT, "a piece of an upload is longer than it was");
    memcpy(reader->block + reader->block_bytes, bytes, size);
    reader->block_bytes += (int64_t)size;
    return 0;
}

/* The block that begins at `offset`: to the end of its piece, or as much as there is room for. */
static int load(struct ms_upload_reader *reader, int64_t offset, struct ms_error *err) {
    int low = 0, high = reader->count - 1;
    while (low < high) { /* the last piece that begins at or before it */
        const int middle = (low + high + 1) / 2;
        if (reader->pieces[middle].offset <= offset)
            low = middle;
        else
            high = middle - 1;
    }
    const struct ms_upload_piece *piece = &reader->pieces[low];
    const int64_t first = offset - piece->offset;
    const int64_t left = piece->bytes - first;
    const int64_t size = left < MS_UPLOAD_PIECE_BYTES ? left : MS_UPLOAD_PIECE_BYTES;
    char key[MS_UPLOAD_KEY_BYTES];
    ms_upload_piece_key(reader->id, piece, key);
    reader->block_first = offset;
    reader->block_bytes = 0;
    const int rc = ms_store_get(reader->store, MS_BUCKET_SONGS, key, first, first + size - 1,
                                take_block, reader, NULL, err);
    if (rc == 0 && reader->block_bytes != size)
        return ms_error_set(err, MS_ECORRUPT, "a piece of an upload is shorter than it was");
    return rc;
}

int ms_upload_read(void *context, int64_t offset, void *buffer, size_t size, struct ms_error *err) {
    struct ms_upload_reader *reader = context;
    for (size_t done = 0; done < size;) {
        const int64_t at = offset + (int64_t)done - reader->block_first;
        if (at < 0 || at >= reader->block_bytes) {
            const int rc = load(reader, offset + (int64_t)done, err);
            if (rc != 0) {
                reader->block_bytes = 0;
                return rc;
            }
            continue;
        }
        const int64_t here = reader->block_bytes - at;
        const size_t some = (int64_t)(size - done) < here ? size - done : (size_t)here;
        memcpy((char *)buffer + done, reader->block + at, some);
        done += some;
    }
    return 0;
}

void ms_upload_close(struct ms_upload_reader *reader) {
    if (reader == NULL)
        return;
    free(reader->pieces);
    free(reader->block);
    free(reader);
}
