/* See msaas/upload.h: the record and the pieces of an upload. Stands between the API, which speaks
 * tus, and the store. Owns nothing. */
#include "pieces.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/digest.h"
#include "msaas/job.h"
#include "msaas/json.h"
#include "msaas/sys.h"

#define RECORD_MAX_BYTES 16384
#define SWEEP_PAGE 500

/* ---- names ---- */

bool ms_upload_id_is_valid(const char *id) {
    return strnlen(id, MS_UPLOAD_ID_BYTES) == MS_UPLOAD_ID_BYTES - 1 &&
           strspn(id, "0123456789abcdef") == MS_UPLOAD_ID_BYTES - 1;
}

static int no_such_upload(struct ms_error *err) {
    return ms_error_set(err, MS_ENOTFOUND, "there is no such upload");
}

static void folder_of(const char *id, char key[MS_UPLOAD_KEY_BYTES]) {
    (void)snprintf(key, MS_UPLOAD_KEY_BYTES, MS_UPLOAD_FOLDER "%s/", id);
}

static void record_key(const char *id, char key[MS_UPLOAD_KEY_BYTES]) {
    (void)snprintf(key, MS_UPLOAD_KEY_BYTES, MS_UPLOAD_FOLDER "%s/record", id);
}

void ms_upload_piece_key(const char *id, const struct ms_upload_piece *piece,
                         char key[MS_UPLOAD_KEY_BYTES]) {
    (void)snprintf(key, MS_UPLOAD_KEY_BYTES, MS_UPLOAD_FOLDER "%s/%05d.%" PRId64, id,
                   MS_UPLOAD_MAX_PIECES - piece->number, piece->offset);
}

bool ms_upload_piece_of(const struct ms_object_entry *entry, const char *id,
                        struct ms_upload_piece *piece) {
    char key[MS_UPLOAD_KEY_BYTES], *end;
    folder_of(id, key);
    const size_t folder = strlen(key);
    if (strncmp(entry->key, key, folder) != 0)
        return false;
    const long left = strtol(entry->key + folder, &end, 10);
    if (*end != '.' || left < 0 || left > MS_UPLOAD_MAX_PIECES)
        return false;
    piece->number = MS_UPLOAD_MAX_PIECES - (int)left;
    piece->offset = strtoll(end + 1, NULL, 10);
    piece->bytes = entry->bytes;
    ms_upload_piece_key(id, piece, key);
    return strcmp(key, entry->key) == 0;
}

/* ---- the record ---- */

static int put_new(struct ms_store *store, const char *key, const void *bytes, size_t size,
                   struct ms_error *err) {
    const struct ms_object_source source = {.bytes = bytes,
                                            .size = (int64_t)size,
                                            .content_type = "application/octet-stream",
                                            .exclusive = true};
    return ms_store_put(store, MS_BUCKET_SONGS, key, &source, NULL, err);
}

int ms_upload_create(struct ms_store *store, struct ms_upload *upload, struct ms_error *err) {
    struct ms_json_writer *w = NULL;
    int rc = ms_random_hex(upload->id, MS_UPLOAD_ID_BYTES - 1, err);
    if (rc == 0) {
        w = ms_json_writer_new();
        ms_json_begin_object(w, NULL);
        ms_json_put_string(w, "owner", upload->owner[0] != '\0' ? upload->owner : NULL);
        ms_json_put_int(w, "length", upload->length);
        ms_json_put_int(w, "created_ms", upload->created_ms);
        ms_json_put_int(w, "expires_ms", upload->expires_ms);
        ms_json_put_string(w, "metadata", upload->metadata);
        ms_json_end_object(w);
        size_t size = 0;
        const char *text = ms_json_writer_text(w, &size);
        char key[MS_UPLOAD_KEY_BYTES];
        record_key(upload->id, key);
        rc = text != NULL ? put_new(store, key, text, size, err)
                          : ms_error_set(err, MS_ENOMEM, "no memory for an upload's record");
    }
    ms_json_writer_free(w);
    upload->offset = 0;
    upload->pieces = 0;
    return rc;
}

struct record {
    char text[RECORD_MAX_BYTES];
    size_t size;
};

static int take_record(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct record *record = context;
    if (size > sizeof record->text - record->size)
        return ms_error_set(err, MS_ECORRUPT, "the record of an upload is too long");
    memcpy(record->text + record->size, bytes, size);
    record->size += size;
    return 0;
}

static bool copy(const char *text, char *out, size_t capacity) {
    if (text == NULL || strlen(text) >= capacity)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static int read_record(const struct record *record, struct ms_upload *upload,
                       struct ms_error *err) {
    struct ms_json *document = NULL;
    int rc = ms_json_parse(record->text, record->size, &document, err);
    if (rc == MS_ENOMEM)
        return rc;
    const char *owner = ms_json_string(ms_json_get(document, "owner"));
    const bool good = rc == 0 && ms_json_int(ms_json_get(document, "length"), &upload->length) &&
                      ms_json_int(ms_json_get(document, "created_ms"), &upload->created_ms) &&
                      ms_json_int(ms_json_get(document, "expires_ms"), &upload->expires_ms) &&
                      copy(owner != NULL ? owner : "", upload->owner, sizeof upload->owner) &&
                      copy(ms_json_string(ms_json_get(document, "metadata")), upload->metadata,
                           sizeof upload->metadata) &&
                      upload->length >= 0;
    ms_json_free(document);
    return good ? 0 : ms_error_set(err, MS_ECORRUPT, "the record of an upload cannot be read");
}

int ms_upload_find(struct ms_store *store, const char *id, struct ms_upload *upload,
                   struct ms_error *err) {
    *upload = (struct ms_upload){0};
    if (!ms_upload_id_is_valid(id))
        return no_such_upload(err);
    memcpy(upload->id, id, sizeof upload->id);
    char key[MS_UPLOAD_KEY_BYTES];
    record_key(id, key);
    struct record record = {.size = 0};
    int rc = ms_store_get(store, MS_BUCKET_SONGS, key, 0, -1, take_record, &record, NULL, err);
    if (rc == MS_ENOTFOUND)
        return no_such_upload(err);
    if (rc == 0)
        rc = read_record(&record, upload, err);
    folder_of(id, key);
    struct ms_object_entry newest;
    int count = 0;
    if (rc == 0)
        rc = ms_store_list(store, MS_BUCKET_SONGS, key, "", 1, &newest, &count, err);
    struct ms_upload_piece piece;
    if (rc == 0 && count > 0 && ms_upload_piece_of(&newest, id, &piece)) {
        upload->offset = piece.offset + piece.bytes;
        upload->pieces = piece.number + 1;
    }
    if (rc == 0 && upload->offset > upload->length)
        rc = ms_error_set(err, MS_ECORRUPT, "an upload has more bytes than its record says");
    return rc;
}

/* ---- pieces ---- */

int ms_upload_append(struct ms_store *store, struct ms_upload *upload, const void *bytes,
                     size_t size, struct ms_error *err) {
    if (size == 0)
        return 0;
    if ((int64_t)size > upload->length - upload->offset)
        return ms_error_set(err, MS_ETOOLARGE, "these bytes are more than the upload's length");
    if (upload->pieces >= MS_UPLOAD_MAX_PIECES)
        return ms_error_set(err, MS_ETOOLARGE,
                            "the upload came in %d pieces, and takes no more: send it again, in "
                            "larger ones",
                            MS_UPLOAD_MAX_PIECES);
    const struct ms_upload_piece piece = {.offset = upload->offset, .number = upload->pieces};
    char key[MS_UPLOAD_KEY_BYTES];
    ms_upload_piece_key(upload->id, &piece, key);
    const int rc = put_new(store, key, bytes, size, err);
    if (rc != 0)
        return rc;
    upload->offset += (int64_t)size;
    upload->pieces++;
    return 0;
}

int ms_upload_presign(struct ms_store *store, const struct ms_upload *upload, int seconds,
                      char **url, struct ms_error *err) {
    char key[MS_UPLOAD_KEY_BYTES];
    ms_upload_piece_key(upload->id, &(struct ms_upload_piece){0}, key);
    return ms_store_presign_put(store, MS_BUCKET_SONGS, key, upload->length, seconds, url, err);
}

/* ---- removing ---- */

/* Removes the objects below a folder that were stored before then_ms. */
static int remove_all(struct ms_store *store, const char *folder, int64_t then_ms, int *removed,
                      struct ms_error *err) {
    struct ms_object_entry *page = calloc(SWEEP_PAGE, sizeof *page);
    if (page == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory to remove uploads");
    char after[MS_STORE_KEY_BYTES] = "";
    int rc = 0;
    for (int count = 1; rc == 0 && count > 0;) {
        rc = ms_store_list(store, MS_BUCKET_SONGS, folder, after, SWEEP_PAGE, page, &count, err);
        for (int i = 0; rc == 0 && i < count; i++) {
            memcpy(after, page[i].key, sizeof after);
            if (page[i].modified_ms > then_ms)
                continue;
            rc = ms_store_remove(store, MS_BUCKET_SONGS, page[i].key, err);
            *removed += rc == 0;
        }
    }
    free(page);
    return rc;
}

int ms_upload_remove(struct ms_store *store, const char *id, struct ms_error *err) {
    char folder[MS_UPLOAD_KEY_BYTES];
    int removed = 0;
    if (!ms_upload_id_is_valid(id))
        return 0;
    folder_of(id, folder);
    return remove_all(store, folder, INT64_MAX, &removed, err);
}

int ms_upload_sweep(struct ms_store *store, int64_t age_s, int *count, struct ms_error *err) {
    *count = 0;
    return remove_all(store, MS_UPLOAD_FOLDER, ms_unix_ms() - age_s * 1000, count, err);
}
