/* Uploads on a store in a folder: how pieces become a song, who wins, what goes. Also the metadata
 * of tus. */
#include "pieces.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "msaas/job.h"
#include "msaas/sys.h"

static char folder[] = "/tmp/msaas-upload-XXXXXX";
static char url[64];
static struct ms_error err;

static struct ms_store *open_store(void) {
    const struct ms_store_options options = {.url = url, .create_buckets = true};
    struct ms_store *store = NULL;
    assert_int_equal(ms_store_open(&options, &store, &err), 0);
    return store;
}

static struct ms_upload create(struct ms_store *store, int64_t length) {
    struct ms_upload upload = {
        .length = length, .created_ms = 1000, .expires_ms = 2000, .metadata = "filename c29uZw=="};
    (void)snprintf(upload.owner, sizeof upload.owner, "alice");
    assert_int_equal(ms_upload_create(store, &upload, &err), 0);
    assert_true(ms_upload_id_is_valid(upload.id));
    return upload;
}

static void find(struct ms_store *store, const char *id, int64_t offset, int pieces) {
    struct ms_upload found;
    assert_int_equal(ms_upload_find(store, id, &found, &err), 0);
    assert_string_equal(found.id, id);
    assert_string_equal(found.owner, "alice");
    assert_string_equal(found.metadata, "filename c29uZw==");
    assert_int_equal(found.created_ms, 1000);
    assert_int_equal(found.expires_ms, 2000);
    assert_int_equal(found.offset, offset);
    assert_int_equal(found.pieces, pieces);
}

static void grows_by_pieces(void **state) {
    struct ms_store *store = open_store();
    struct ms_upload upload = create(store, 3000), found;
    char song[3000], read[3000];
    (void)state;
    for (size_t i = 0; i < sizeof song; i++)
        song[i] = (char)(i * 7 % 251);
    find(store, upload.id, 0, 0);
    struct ms_upload_reader *reader = NULL;
    assert_int_equal(ms_upload_open(store, &upload, &reader, &err), MS_ENOTFOUND);
    int64_t at = 0;
    for (int number = 0; at < 3000; number++) { /* more than ten: the order is that of numbers */
        const int64_t size = at + 37 * number + 1 < 3000 ? 37 * number + 1 : 3000 - at;
        assert_int_equal(ms_upload_append(store, &upload, song + at, (size_t)size, &err), 0);
        at += size;
        find(store, upload.id, at, number + 1);
    }
    assert_int_equal(ms_upload_append(store, &upload, "", 0, &err), 0);
    assert_int_equal(ms_upload_append(store, &upload, "x", 1, &err), MS_ETOOLARGE);
    assert_int_equal(ms_upload_find(store, upload.id, &found, &err), 0);
    assert_int_equal(ms_upload_open(store, &found, &reader, &err), 0);
    for (int64_t step = 1; step < 3000; step = step * 5 + 1)
        for (int64_t from = 0; from < 3000; from += step) {
            const size_t size = (size_t)(from + step < 3000 ? step : 3000 - from);
            assert_int_equal(ms_upload_read(reader, from, read, size, &err), 0);
            assert_memory_equal(read, song + from, size);
        }
    assert_int_equal(ms_upload_read(reader, 0, read, 3000, &err), 0);
    assert_memory_equal(read, song, sizeof song);
    ms_upload_close(reader);

    assert_int_equal(ms_upload_remove(store, upload.id, &err), 0);
    assert_int_equal(ms_upload_find(store, upload.id, &found, &err), MS_ENOTFOUND);
    assert_int_equal(ms_upload_remove(store, upload.id, &err), 0);
    ms_store_close(store);
}

struct racer {
    struct ms_upload upload;
    atomic_int *won, *lost;
    char byte;
};

static void *race(void *user) {
    struct racer *racer = user;
    struct ms_store *store = open_store();
    char bytes[100];
    struct ms_error why = {0};
    memset(bytes, racer->byte, sizeof bytes);
    const int rc = ms_upload_append(store, &racer->upload, bytes, (size_t)(10 + racer->byte), &why);
    atomic_fetch_add(rc == 0 ? racer->won : racer->lost, rc == 0 || rc == MS_ECONFLICT);
    ms_store_close(store);
    return NULL;
}

static void lets_one_writer_win(void **state) {
    enum { RACERS = 16 };
    struct ms_store *store = open_store();
    struct ms_upload upload = create(store, 1000), found;
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    atomic_int won = 0, lost = 0;
    (void)state;
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){upload, &won, &lost, (char)(i + 1)};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(won, 1);
    assert_int_equal(lost, RACERS - 1);
    assert_int_equal(ms_upload_find(store, upload.id, &found, &err), 0);
    assert_int_equal(found.pieces, 1);
    ms_store_close(store);
}

static void takes_so_many_pieces(void **state) {
    struct ms_store *store = open_store();
    struct ms_upload upload = create(store, 1000000);
    (void)state;
    upload.pieces = MS_UPLOAD_MAX_PIECES;
    assert_int_equal(ms_upload_append(store, &upload, "a", 1, &err), MS_ETOOLARGE);
    upload.pieces = MS_UPLOAD_MAX_PIECES - 1;
    assert_int_equal(ms_upload_append(store, &upload, "a", 1, &err), 0);
    find(store, upload.id, 1, MS_UPLOAD_MAX_PIECES);
    ms_store_close(store);
}

static void knows_what_is_no_upload(void **state) {
    static const char *const ids[] = {"", "x", "../../queue/0123456789abcdef01234567",
                                      "0123456789abcdef0123456789abcdef",
                                      "0123456789ABCDEF0123456789abcdef"};
    struct ms_store *store = open_store();
    struct ms_upload found;
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        assert_int_equal(ms_upload_find(store, ids[i], &found, &err), MS_ENOTFOUND);
        assert_int_equal(ms_upload_remove(store, ids[i], &err), 0);
    }
    const struct ms_object_source junk = {.bytes = "{}", .size = 2};
    assert_int_equal(ms_store_put(store, MS_BUCKET_SONGS,
                                  "uploads/0123456789abcdef0123456789abcdef/record", &junk, NULL,
                                  &err),
                     0);
    assert_int_equal(ms_upload_find(store, ids[3], &found, &err), MS_ECORRUPT);
    assert_int_equal(ms_upload_remove(store, ids[3], &err), 0);
    ms_store_close(store);
}

static void sweeps_what_is_old(void **state) {
    struct ms_store *store = open_store();
    struct ms_upload old = create(store, 10), young = create(store, 10), found;
    char path[200];
    int count = 0;
    (void)state;
    assert_int_equal(ms_upload_append(store, &old, "abc", 3, &err), 0);
    const struct timespec then[2] = {{.tv_sec = time(NULL) - 3700}, {.tv_sec = time(NULL) - 3700}};
    static const char *const names[] = {"record", "10000.0"};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/queue/uploads/%s/%s", folder, old.id, names[i]);
        assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
    }
    assert_int_equal(ms_upload_sweep(store, 3600, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(ms_upload_find(store, old.id, &found, &err), MS_ENOTFOUND);
    assert_int_equal(ms_upload_find(store, young.id, &found, &err), 0);
    (void)snprintf(path, sizeof path, "%s/queue/uploads/%s", folder, old.id);
    assert_int_not_equal(access(path, F_OK), 0); /* no folder is left */
    ms_store_close(store);
}

static void reads_metadata(void **state) {
    static const struct {
        const char *text;
        bool good;
        const char *name;
    } cases[] = {
        {"", true, ""},
        {"filename c29uZy5tcDM=", true, "song.mp3"},
        {"filetype YXVkaW8=,filename c29uZy5tcDM=", true, "song.mp3"},
        {"filetype YXVkaW8=, filename c29uZy5tcDM=,private", true, "song.mp3"},
        {"filename", true, ""},
        {"filename ", true, ""},
        {"filename YQBi", true, ""}, /* a NUL in it */
        {"filename "
         "YWFhYWFhYWFhYWFhYWFhYWFhYWFh",
         true, ""},                          /* too long for the buffer */
        {"filename c29uZy5tcDM", false, ""}, /* no padding */
        {"filename c29uZy5tcDM=,", false, ""},
        {"filename c29uZy5tcDM=,,a", false, ""},
        {" filename c29uZy5tcDM=", false, ""},
        {"filename ???", false, ""},
        {"n\xc3\xa4me c29uZy5tcDM=", false, ""}, /* keys are ASCII */
        {"a\tb,filename c29uZy5tcDM=", false, ""},
        {"filename  c29uZy5tcDM=", false, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[16];
        if (ms_upload_metadata_read(cases[i].text, "filename", name, sizeof name) != cases[i].good)
            fail_msg("\"%s\"", cases[i].text);
        if (cases[i].good)
            assert_string_equal(name, cases[i].name);
    }
}

static int set_up(void **state) {
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(url, sizeof url, "file:%s", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[80];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_by_pieces),      cmocka_unit_test(lets_one_writer_win),
        cmocka_unit_test(takes_so_many_pieces), cmocka_unit_test(knows_what_is_no_upload),
        cmocka_unit_test(sweeps_what_is_old),   cmocka_unit_test(reads_metadata),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
