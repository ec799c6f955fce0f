/* The files of the store's contract suite among themselves: store_contract.c, store_names.c and
 * store_uploads.c hold what every backend must do, store_faults.c what only one of them can be
 * asked, tools.c what all need. */
#ifndef MSAAS_TEST_CONTRACT_H
#define MSAAS_TEST_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "msaas/digest.h"
#include "msaas/store.h"

#define MIB (INT64_C(1) << 20)
#define BUCKET "queue"

/* What the tests work on: one for the whole run. */
struct world {
    bool s3;
    char folder[64];      /* temporary */
    char url[128];        /* of the store */
    const char *endpoint; /* S3 only, as the next three */
    const char *access_key, *secret_key;
    char bucket[64]; /* S3: BUCKET with its prefix */
    struct ms_store_options options;
    struct ms_store *store;
    char large[96]; /* a file of LARGE_BYTES */
    char large_sha256[MS_SHA256_HEX];
    atomic_bool cancel;
};
#define LARGE_BYTES (20 * MIB + 12345)
extern struct world world;

/* 0 and -1 of an operation must be what is said; else the error's text is told. */
#define expect(code, call)                                                                         \
    do {                                                                                           \
        struct ms_error err = {0};                                                                 \
        const int came = (call);                                                                   \
        if (came != (code))                                                                        \
            fail_msg("%s: %d instead of %d: %s", #call, came, code, err.text);                     \
    } while (0)

/* Bytes that arrive. */
struct heap {
    char *bytes;
    size_t size, capacity;
    size_t fail_at;           /* write_heap fails once it has so many; 0: never */
    atomic_bool *cancel_then; /* set instead of failing */
};
int write_heap(void *context, const void *bytes, size_t size, struct ms_error *err);
void write_file(const char *path, int64_t bytes, unsigned seed); /* of random bytes */
char *read_file(const char *path, size_t *size);
int count_entries(const char *folder);
int put_text(struct ms_store *store, const char *key, const char *text);
void check_text(const char *key, const char *text); /* that the object in world.store is so */
struct ms_store *open_store(const struct ms_store_options *options);

/* Changes one byte of an object behind the store's back. */
void damage(const char *key);

extern const struct CMUnitTest fault_tests_s3[], fault_tests_file[];
extern const size_t fault_tests_s3_count, fault_tests_file_count;
/* store_names.c and store_uploads.c, for every backend */
extern const struct CMUnitTest name_tests[], upload_tests[];
extern const size_t name_tests_count, upload_tests_count;
int uploads_left(void); /* begun in BUCKET and neither completed nor aborted; file: leftovers */

#endif
