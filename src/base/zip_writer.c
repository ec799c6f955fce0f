/* See zip_writer.h. Owns the list of files for the central directory, and the bytes that the last
 * call gave. */
#include "msaas/zip_writer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VERSION 20 /* of the format that a reader must know: 2.0 has folders */
#define VERSION_ZIP64 45
#define MADE_BY (3 << 8 | VERSION_ZIP64) /* Unix: the file's mode stands in its attributes */
#define MODE (UINT32_C(0100644) << 16)
#define FLAGS (1 << 3 | 1 << 11) /* size and CRC follow the bytes; the name is UTF-8 */
#define MOST_32 UINT32_C(0xffffffff)
#define MOST_16 0xffff
#define MOST_NAME_BYTES 65535

struct entry {
    char *name;
    size_t name_bytes;
    int64_t at; /* of its header */
    int64_t bytes, most_bytes;
    uint32_t crc;
    bool zip64; /* size fields have 8 bytes */
};

struct ms_zip_writer {
    uint16_t dos_time, dos_date;
    int64_t length;
    struct entry *entries;
    size_t count, capacity;
    unsigned char *out; /* what the last call gave */
    size_t out_bytes, out_capacity;
    bool failed; /* no memory for it */
};

/* ---- CRC-32 of IEEE 802.3, eight bytes at a time ---- */

static uint32_t tables[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ UINT32_C(0xedb88320) : crc >> 1;
        tables[0][i] = crc;
    }
    for (int t = 1; t < 8; t++)
        for (int i = 0; i < 256; i++)
            tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 0xff];
}

static uint32_t crc_of(uint32_t crc, const unsigned char *at, size_t size) {
    crc = ~crc;
    for (; size >= 8; at += 8, size -= 8) {
        crc ^=
            (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^ tables[5][crc >> 16 & 0xff] ^
              tables[4][crc >> 24] ^ tables[3][at[4]] ^ tables[2][at[5]] ^ tables[1][at[6]] ^
              tables[0][at[7]];
    }
    for (; size > 0; at++, size--)
        crc = crc >> 8 ^ tables[0][(crc ^ *at) & 0xff];
    return ~crc;
}

/* ---- what is given ---- */

static void put_bytes(struct ms_zip_writer *zip, const void *bytes, size_t size) {
    if (zip->failed)
        return;
    if (size > zip->out_capacity - zip->out_bytes) {
        const size_t capacity = 2 * zip->out_capacity + size;
        unsigned char *grown = realloc(zip->out, capacity);
        if (grown == NULL) {
            zip->failed = true;
            return;
        }
        zip->out = grown;
        zip->out_capacity = capacity;
    }
    memcpy(zip->out + zip->out_bytes, bytes, size);
    zip->out_bytes += size;
}

/* Little-endian, of `bytes` bytes. */
static void put(struct ms_zip_writer *zip, int bytes, uint64_t value) {
    unsigned char text[8];
    for (int i = 0; i < bytes; i++)
        text[i] = (unsigned char)(value >> 8 * i);
    put_bytes(zip, text, (size_t)bytes);
}

static int give(struct ms_zip_writer *zip, const void **bytes, size_t *size, struct ms_error *err) {
    if (zip->failed)
        return ms_error_set(err, MS_ENOMEM, "no memory for a zip archive");
    *bytes = zip->out;
    *size = zip->out_bytes;
    zip->length += (int64_t)zip->out_bytes;
    zip->out_bytes = 0;
    return 0;
}

/* ---- the archive ---- */

int ms_zip_writer_new(int64_t unix_s, struct ms_zip_writer **out, struct ms_error *err) {
    (void)pthread_once(&once, make_tables);
    struct ms_zip_writer *zip = calloc(1, sizeof *zip);
    if (zip == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a zip archive");
    const time_t seconds = (time_t)unix_s;
    struct tm utc = {.tm_year = 80, .tm_mday = 1};
    if (gmtime_r(&seconds, &utc) == NULL || utc.tm_year < 80 || utc.tm_year > 207)
        utc = (struct tm){.tm_year = 80, .tm_mday = 1};
    zip->dos_time = (uint16_t)(utc.tm_hour << 11 | utc.tm_min << 5 | utc.tm_sec / 2);
    zip->dos_date = (uint16_t)((utc.tm_year - 80) << 9 | (utc.tm_mon + 1) << 5 | utc.tm_mday);
    *out = zip;
    return 0;
}

void ms_zip_writer_free(struct ms_zip_writer *zip) {
    if (zip == NULL)
        return;
    for (size_t i = 0; i < zip->count; i++)
        free(zip->entries[i].name);
    free(zip->entries);
    free(zip->out);
    free(zip);
}

static struct entry *add_entry(struct ms_zip_writer *zip, const char *name) {
    if (zip->count == zip->capacity) {
        const size_t capacity = 2 * zip->capacity + 8;
        struct entry *grown = realloc(zip->entries, capacity * sizeof *grown);
        if (grown == NULL)
            return NULL;
        zip->entries = grown;
        zip->capacity = capacity;
    }
    struct entry *entry = &zip->entries[zip->count];
    *entry = (struct entry){.name = strdup(name), .name_bytes = strlen(name), .at = zip->length};
    if (entry->name == NULL)
        return NULL;
    zip->count++;
    return entry;
}

/* From the version needed to the date: the same in both headers. */
static void put_common(struct ms_zip_writer *zip, bool zip64) {
    put(zip, 2, zip64 ? VERSION_ZIP64 : VERSION);
    put(zip, 2, FLAGS);
    put(zip, 2, 0); /* stored */
    put(zip, 2, zip->dos_time);
    put(zip, 2, zip->dos_date);
}

int ms_zip_writer_begin(struct ms_zip_writer *zip, const char *name, int64_t most_bytes,
                        const void **bytes, size_t *size, struct ms_error *err) {
    if (name[0] == '\0' || name[0] == '/' || strlen(name) > MOST_NAME_BYTES)
        return ms_error_set(err, MS_EUSAGE, "\"%.60s\" cannot be a name in a zip archive", name);
    struct entry *entry = add_entry(zip, name);
    if (entry == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a zip archive");
    entry->most_bytes = most_bytes;
    /* In the header of a file whose size follows it, the extra field says how long the size is. */
    entry->zip64 = most_bytes < 0 || most_bytes >= MOST_32;
    put(zip, 4, 0x04034b50);
    put_common(zip, entry->zip64);
    put(zip, 4, 0);                          /* CRC */
    put(zip, 4, entry->zip64 ? MOST_32 : 0); /* bytes stored */
    put(zip, 4, entry->zip64 ? MOST_32 : 0); /* bytes of the file */
    put(zip, 2, entry->name_bytes);
    put(zip, 2, entry->zip64 ? 20 : 0);
    put_bytes(zip, name, entry->name_bytes);
    if (entry->zip64) {
        put(zip, 2, 1);
        put(zip, 2, 16);
        put(zip, 8, 0);
        put(zip, 8, 0);
    }
    return give(zip, bytes, size, err);
}

void ms_zip_writer_add(struct ms_zip_writer *zip, const void *bytes, size_t size) {
    struct entry *entry = &zip->entries[zip->count - 1];
    entry->crc = crc_of(entry->crc, bytes, size);
    ms_zip_writer_skip(zip, (int64_t)size);
}

void ms_zip_writer_skip(struct ms_zip_writer *zip, int64_t count) {
    zip->entries[zip->count - 1].bytes += count;
    zip->length += count;
}

int ms_zip_writer_end(struct ms_zip_writer *zip, const void **bytes, size_t *size,
                      struct ms_error *err) {
    const struct entry *entry = &zip->entries[zip->count - 1];
    if (entry->most_bytes >= 0 && entry->bytes > entry->most_bytes)
        return ms_error_set(err, MS_EINTERNAL, "%.200s is longer than its place in the archive",
                            entry->name);
    put(zip, 4, 0x08074b50);
    put(zip, 4, entry->crc);
    put(zip, entry->zip64 ? 8 : 4, (uint64_t)entry->bytes);
    put(zip, entry->zip64 ? 8 : 4, (uint64_t)entry->bytes);
    return give(zip, bytes, size, err);
}

static void put_directory_entry(struct ms_zip_writer *zip, const struct entry *entry) {
    const bool long_size = entry->bytes >= MOST_32;
    const bool long_at = entry->at >= MOST_32;
    const size_t extra = (long_size ? 16u : 0u) + (long_at ? 8u : 0u);
    put(zip, 4, 0x02014b50);
    put(zip, 2, MADE_BY);
    put_common(zip, entry->zip64 || extra > 0);
    put(zip, 4, entry->crc);
    put(zip, 4, long_size ? MOST_32 : (uint64_t)entry->bytes);
    put(zip, 4, long_size ? MOST_32 : (uint64_t)entry->bytes);
    put(zip, 2, entry->name_bytes);
    put(zip, 2, extra > 0 ? extra + 4 : 0);
    put(zip, 2, 0); /* no comment */
    put(zip, 2, 0); /* disk 0 */
    put(zip, 2, 0); /* not text */
    put(zip, 4, MODE);
    put(zip, 4, long_at ? MOST_32 : (uint64_t)entry->at);
    put_bytes(zip, entry->name, entry->name_bytes);
    if (extra > 0) {
        put(zip, 2, 1);
        put(zip, 2, extra);
    }
    if (long_size) {
        put(zip, 8, (uint64_t)entry->bytes);
        put(zip, 8, (uint64_t)entry->bytes);
    }
    if (long_at)
        put(zip, 8, (uint64_t)entry->at);
}

int ms_zip_writer_finish(struct ms_zip_writer *zip, const void **bytes, size_t *size,
                         struct ms_error *err) {
    const uint64_t at = (uint64_t)zip->length;
    for (size_t i = 0; i < zip->count; i++)
        put_directory_entry(zip, &zip->entries[i]);
    const uint64_t length = zip->out_bytes;
    if (at >= MOST_32 || length >= MOST_32 || zip->count >= MOST_16) {
        put(zip, 4, 0x06064b50);
        put(zip, 8, 44); /* bytes of this record that follow */
        put(zip, 2, MADE_BY);
        put(zip, 2, VERSION_ZIP64);
        put(zip, 4, 0); /* disk */
        put(zip, 4, 0);
        put(zip, 8, zip->count);
        put(zip, 8, zip->count);
        put(zip, 8, length);
        put(zip, 8, at);
        put(zip, 4, 0x07064b50); /* where that record is */
        put(zip, 4, 0);
        put(zip, 8, at + length);
        put(zip, 4, 1);
    }
    const uint64_t count = zip->count < MOST_16 ? zip->count : MOST_16;
    put(zip, 4, 0x06054b50);
    put(zip, 2, 0);
    put(zip, 2, 0);
    put(zip, 2, count);
    put(zip, 2, count);
    put(zip, 4, length < MOST_32 ? length : MOST_32);
    put(zip, 4, at < MOST_32 ? at : MOST_32);
    put(zip, 2, 0); /* no comment */
    return give(zip, bytes, size, err);
}

int64_t ms_zip_writer_length(const struct ms_zip_writer *zip) {
    return zip->length;
}
