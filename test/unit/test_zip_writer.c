/* Zip archives byte by byte: fields, CRC-32, lengths told before, and where zip64 begins. What
 * programs make of them: test/contract/test_zip.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/zip_writer.h"

struct archive { /* what the writer gave; the files' own bytes are left out */
    struct ms_zip_writer *zip;
    unsigned char bytes[1 << 16];
    size_t size;
};

static void open_archive(struct archive *archive, int64_t unix_s) {
    archive->size = 0;
    assert_int_equal(ms_zip_writer_new(unix_s, &archive->zip, NULL), 0);
}

static void take(struct archive *archive, const void *bytes, size_t size) {
    if (size <= sizeof archive->bytes - archive->size)
        memcpy(archive->bytes + archive->size, bytes, size);
    archive->size += size;
}

static void begin(struct archive *archive, const char *name, int64_t most) {
    const void *bytes;
    size_t size;
    assert_int_equal(ms_zip_writer_begin(archive->zip, name, most, &bytes, &size, NULL), 0);
    take(archive, bytes, size);
}

static void end(struct archive *archive) {
    const void *bytes;
    size_t size;
    assert_int_equal(ms_zip_writer_end(archive->zip, &bytes, &size, NULL), 0);
    take(archive, bytes, size);
}

static void finish(struct archive *archive) {
    const void *bytes;
    size_t size;
    assert_int_equal(ms_zip_writer_finish(archive->zip, &bytes, &size, NULL), 0);
    take(archive, bytes, size);
}

static uint64_t number(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/* The end of the archive, from the last record with this signature on. */
static const unsigned char *find(const struct archive *archive, const char signature[4]) {
    for (size_t at = archive->size - 4; at > 0; at--)
        if (memcmp(archive->bytes + at, signature, 4) == 0)
            return archive->bytes + at;
    return NULL;
}

static void a_small_file(void **state) {
    (void)state;
    static struct archive archive;
    open_archive(&archive, 1000000000); /* 2001-09-09 01:46:40 */
    begin(&archive, "a/b.txt", 9);
    assert_int_equal(archive.size, 30 + 7);
    assert_memory_equal(archive.bytes, "PK\3\4\x14\0\x08\x08\0\0", 10);
    assert_int_equal(number(archive.bytes + 10, 2), 1 << 11 | 46 << 5 | 20);
    assert_int_equal(number(archive.bytes + 12, 2), 21 << 9 | 9 << 5 | 9);
    ms_zip_writer_add(archive.zip, "12345678", 8);
    ms_zip_writer_add(archive.zip, "9", 1);
    end(&archive);
    assert_memory_equal(archive.bytes + 37, "PK\7\x08\x26\x39\xf4\xcb\x09\0\0\0\x09\0\0\0", 16);
    finish(&archive);
    const unsigned char *entry = find(&archive, "PK\1\2");
    assert_int_equal(number(entry + 16, 4), 0xcbf43926); /* the check value of CRC-32 */
    assert_int_equal(number(entry + 20, 4), 9);
    assert_int_equal(number(entry + 42, 4), 0);
    const unsigned char *last = find(&archive, "PK\5\6");
    assert_int_equal(number(last + 10, 2), 1);
    assert_int_equal(number(last + 12, 4), 46 + 7);
    assert_int_equal(number(last + 16, 4), 37 + 9 + 16);
    assert_int_equal(ms_zip_writer_length(archive.zip), (int64_t)archive.size + 9);
    assert_null(find(&archive, "PK\6\6"));
    ms_zip_writer_free(archive.zip);
}

/* In pieces of any size, over all of the table. */
static void the_crc_does_not_depend_on_pieces(void **state) {
    (void)state;
    static struct archive one, many;
    unsigned char bytes[5000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 256);
    open_archive(&one, 0);
    begin(&one, "x", 5000);
    ms_zip_writer_add(one.zip, bytes, sizeof bytes);
    end(&one);
    open_archive(&many, 0);
    begin(&many, "x", 5000);
    for (size_t at = 0, piece = 1; at < sizeof bytes; at += piece, piece = piece % 23 + 1) {
        if (piece > sizeof bytes - at)
            piece = sizeof bytes - at;
        ms_zip_writer_add(many.zip, bytes + at, piece);
    }
    end(&many);
    assert_int_equal(one.size, many.size);
    assert_memory_equal(one.bytes, many.bytes, one.size);
    ms_zip_writer_free(one.zip);
    ms_zip_writer_free(many.zip);
}

static void zip64_where_it_is_needed(void **state) {
    (void)state;
    static struct archive archive;
    const int64_t large = INT64_C(5) << 30;
    open_archive(&archive, 0);
    begin(&archive, "large", large);
    assert_int_equal(number(archive.bytes + 4, 2), 45);
    assert_int_equal(number(archive.bytes + 18, 4), 0xffffffff);
    assert_int_equal(number(archive.bytes + 28, 2), 20);
    ms_zip_writer_skip(archive.zip, large);
    end(&archive);
    begin(&archive, "behind", 1);
    ms_zip_writer_skip(archive.zip, 1);
    end(&archive);
    finish(&archive);
    const unsigned char *behind = find(&archive, "PK\1\2");
    assert_int_equal(number(behind + 20, 4), 1);
    assert_int_equal(number(behind + 42, 4), 0xffffffff);
    const int64_t at = 30 + 5 + 20 + large + 24;
    assert_int_equal(number(behind + 46 + 6 + 4, 8), at);
    const unsigned char *record = find(&archive, "PK\6\6");
    assert_non_null(record);
    assert_int_equal(number(record + 24, 8), 2);
    assert_int_equal(number(record + 48, 8), at + 30 + 6 + 1 + 16);
    assert_non_null(find(&archive, "PK\6\7"));
    assert_int_equal(number(find(&archive, "PK\5\6") + 16, 4), 0xffffffff);
    assert_int_equal(ms_zip_writer_length(archive.zip), (int64_t)archive.size + large + 1);
    ms_zip_writer_free(archive.zip);
}

static void more_files_than_16_bits(void **state) {
    (void)state;
    static struct archive archive;
    open_archive(&archive, 0);
    for (int i = 0; i < 65536; i++) {
        archive.size = 0;
        begin(&archive, "f", 0);
        end(&archive);
    }
    const void *bytes;
    size_t size;
    assert_int_equal(ms_zip_writer_finish(archive.zip, &bytes, &size, NULL), 0);
    const unsigned char *last = (const unsigned char *)bytes + size - 22;
    assert_memory_equal(last, "PK\5\6", 4);
    assert_int_equal(number(last + 10, 2), 0xffff);
    assert_memory_equal(last - 20 - 56, "PK\6\6", 4);
    assert_int_equal(number(last - 20 - 56 + 32, 8), 65536);
    ms_zip_writer_free(archive.zip);
}

static void refuses(void **state) {
    (void)state;
    struct ms_zip_writer *zip = NULL;
    const void *bytes;
    size_t size;
    char *long_name = malloc(70000);
    assert_non_null(long_name);
    memset(long_name, 'x', 69999);
    long_name[69999] = '\0';
    assert_int_equal(ms_zip_writer_new(-1, &zip, NULL), 0);
    assert_int_equal(ms_zip_writer_begin(zip, "", 0, &bytes, &size, NULL), MS_EUSAGE);
    assert_int_equal(ms_zip_writer_begin(zip, "/x", 0, &bytes, &size, NULL), MS_EUSAGE);
    assert_int_equal(ms_zip_writer_begin(zip, long_name, 0, &bytes, &size, NULL), MS_EUSAGE);
    assert_int_equal(ms_zip_writer_begin(zip, "short", 3, &bytes, &size, NULL), 0);
    ms_zip_writer_add(zip, "four", 4);
    assert_int_equal(ms_zip_writer_end(zip, &bytes, &size, NULL), MS_EINTERNAL);
    ms_zip_writer_free(zip);
    ms_zip_writer_free(NULL);
    free(long_name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_file),
        cmocka_unit_test(the_crc_does_not_depend_on_pieces),
        cmocka_unit_test(zip64_where_it_is_needed),
        cmocka_unit_test(more_files_than_16_bits),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
