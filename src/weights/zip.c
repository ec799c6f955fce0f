/* The outer shell of upstream's .th files. Owns the index, not the bytes; any thread. */
#include "zip.h"

#include <stdlib.h>
#include <string.h>

/* PKWARE's APPNOTE: the end of the central directory, a central header, a local header. */
#define END_BYTES 22u
#define CENTRAL_BYTES 46u
#define LOCAL_BYTES 30u
#define MAX_COMMENT 65535u

static uint32_t get16(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static uint32_t get32(const uint8_t *at) {
    return get16(at) | get16(at + 2) << 16;
}

static int compare(const char *a, size_t a_size, const char *b, size_t b_size) {
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static int by_name(const void *a, const void *b) {
    const struct ms_zip_entry *x = a, *y = b;
    return compare(x->name, x->name_size, y->name, y->name_size);
}

static int refuse(struct ms_error *err, const char *why) {
    return ms_error_set(err, MS_EMODEL, "not a zip archive as torch writes it: %s", why);
}

static const uint8_t *find_end(const uint8_t *bytes, size_t size) {
    if (size < END_BYTES)
        return NULL;
    for (size_t at = size - END_BYTES;; at--) {
        if (memcmp(bytes + at, "PK\5\6", 4) == 0 && get16(bytes + at + 20) == size - END_BYTES - at)
            return bytes + at;
        if (at == 0 || size - END_BYTES - at >= MAX_COMMENT)
            return NULL;
    }
}

/* `header`: a central header that lies in the file, its name included. */
static int read_entry(const uint8_t *header, const uint8_t *bytes, size_t size,
                      struct ms_zip_entry *entry, struct ms_error *err) {
    const uint32_t flags = get16(header + 8), method = get16(header + 10);
    const uint32_t stored = get32(header + 20);
    const uint32_t plain = get32(header + 24);
    const uint32_t local = get32(header + 42);
    entry->name = (const char *)header + CENTRAL_BYTES;
    entry->name_size = get16(header + 28);
    if ((flags & 1) != 0 || method != 0 || stored != plain)
        return refuse(err, "a member is compressed or encrypted");
    if (stored == UINT32_MAX || local == UINT32_MAX)
        return refuse(err, "it is zip64");
    if (local > size || size - local < LOCAL_BYTES || memcmp(bytes + local, "PK\3\4", 4) != 0)
        return refuse(err, "a member lies outside the file");
    const uint64_t begin =
        (uint64_t)local + LOCAL_BYTES + get16(bytes + local + 26) + get16(bytes + local + 28);
    if (begin > size || size - begin < stored)
        return refuse(err, "a member lies outside the file");
    entry->bytes = bytes + begin;
    entry->size = stored;
    return 0;
}

int ms_zip_open(struct ms_zip *zip, const uint8_t *bytes, size_t size, struct ms_error *err) {
    const uint8_t *end = find_end(bytes, size);
    *zip = (struct ms_zip){0};
    if (end == NULL)
        return refuse(err, "its end is missing, perhaps it is cut off");
    const size_t count = get16(end + 10);
    size_t at = get32(end + 16);
    const size_t stop = (size_t)(end - bytes);
    if (get16(end + 4) != 0 || get16(end + 8) != count || count == 0xffff || at > stop)
        return refuse(err, "its directory is damaged or zip64");
    zip->entries = calloc(count + 1, sizeof *zip->entries);
    if (zip->entries == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a zip archive");
    int rc = 0;
    for (; rc == 0 && zip->count < count; zip->count++) {
        const uint8_t *header = bytes + at;
        if (stop - at < CENTRAL_BYTES || memcmp(header, "PK\1\2", 4) != 0) {
            rc = refuse(err, "its directory is damaged");
            break;
        }
        const size_t length =
            CENTRAL_BYTES + get16(header + 28) + get16(header + 30) + get16(header + 32);
        if (stop - at < length) {
            rc = refuse(err, "its directory is damaged");
            break;
        }
        rc = read_entry(header, bytes, size, &zip->entries[zip->count], err);
        at += length;
    }
    if (rc == 0) {
        qsort(zip->entries, zip->count, sizeof *zip->entries, by_name);
        for (size_t i = 1; i < zip->count && rc == 0; i++)
            if (by_name(&zip->entries[i - 1], &zip->entries[i]) == 0)
                rc = refuse(err, "two members have one name");
    }
    if (rc != 0)
        ms_zip_close(zip);
    return rc;
}

void ms_zip_close(struct ms_zip *zip) {
    free(zip->entries);
    *zip = (struct ms_zip){0};
}

const struct ms_zip_entry *ms_zip_find(const struct ms_zip *zip, const char *name,
                                       size_t name_size) {
    const struct ms_zip_entry key = {.name = name, .name_size = name_size};
    return bsearch(&key, zip->entries, zip->count, sizeof key, by_name);
}
