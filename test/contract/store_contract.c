/* The contract of msaas/store.h, the same for every backend.
 *
 *     store_contract file|s3
 * runs the suite in a temporary folder, or on the S3 server that AWS_ENDPOINT_URL_S3,
 * AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY name; test/tools/radosgw.py starts one.
 * AWS_CA_BUNDLE: whom to trust.
 *
 *     store_contract file|s3 MIB
 * stores and fetches one object of so many MiB; tells the time and how memory grew. */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "../tools/peak.h"
#include "contract.h"
#include "msaas/sys.h"

struct world world;

/* ---- what every backend must do ---- */

static int put_file(const char *key, const char *path, struct ms_object_info *info,
                    struct ms_error *err) {
    return ms_store_put(world.store, BUCKET, key, &(struct ms_object_source){.path = path}, info,
                        err);
}

static void stores_describes_gives_back_and_removes(void **state) {
    const struct ms_object_source source = {
        .bytes = "hello", .size = 5, .content_type = "audio/mpeg"};
    (void)state;
    expect(0, ms_store_ping(world.store, &err));
    struct ms_object_info put;
    expect(0, ms_store_put(world.store, BUCKET, "a", &source, &put, &err));
    struct ms_object_info head;
    expect(0, ms_store_head(world.store, BUCKET, "a", &head, &err));
    struct ms_object_info got;
    struct heap heap = {0};
    expect(0, ms_store_get(world.store, BUCKET, "a", 0, -1, write_heap, &heap, &got, &err));
    assert_string_equal(heap.bytes, "hello");
    char sha256[MS_SHA256_HEX];
    expect(0, ms_sha256_of("hello", 5, sha256, &err));
    for (int i = 0; i < 3; i++) {
        const struct ms_object_info *info = i == 0 ? &put : i == 1 ? &head : &got;
        assert_int_equal(info->bytes, 5);
        assert_string_equal(info->sha256, sha256);
        assert_string_equal(info->etag, put.etag);
        assert_true(info->modified_ms > (int64_t)(time(NULL) - 600) * 1000);
        assert_true(info->modified_ms < (int64_t)(time(NULL) + 600) * 1000);
    }
    assert_true(strlen(put.etag) > 2 && put.etag[0] == '"' &&
                put.etag[strlen(put.etag) - 1] == '"');
    free(heap.bytes);

    expect(0, put_text(world.store, "a", "something else")); /* over it */
    check_text("a", "something else");
    expect(0, ms_store_head(world.store, BUCKET, "a", &head, &err));
    assert_string_not_equal(head.etag, put.etag);

    expect(0, ms_store_remove(world.store, BUCKET, "a", &err));
    expect(MS_ENOTFOUND, ms_store_head(world.store, BUCKET, "a", &head, &err));
    expect(0, ms_store_remove(world.store, BUCKET, "a", &err));
    expect(0, ms_store_remove(world.store, "no-such-bucket", "a", &err));
}

static bool is_there(const char *key) {
    struct ms_object_info info;
    const int rc = ms_store_head(world.store, BUCKET, key, &info, NULL);
    assert_true(rc == 0 || rc == MS_ENOTFOUND);
    return rc == 0;
}

static void removes_all_that_begins_so(void **state) {
    static const char *const keys[] = {"many-a.mp3",    "many-b.flac", "many-", "many",
                                       "in/many-c.mp3", "many.a",      "Many-a"};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        expect(0, put_text(world.store, keys[i], "x"));
    char key[20];
    for (int i = 0; i < 230; i++) { /* pages of them */
        (void)snprintf(key, sizeof key, "many-%d&<>", i);
        expect(0, put_text(world.store, key, ""));
    }
    expect(0, ms_store_remove_all(world.store, BUCKET, "many-", &err));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(is_there(keys[i]), i >= 3);
    for (int i = 0; i < 230; i++) {
        (void)snprintf(key, sizeof key, "many-%d&<>", i);
        assert_false(is_there(key));
    }
    expect(0, ms_store_remove_all(world.store, BUCKET, "in/many-", &err));
    assert_false(is_there("in/many-c.mp3"));
    expect(0, ms_store_remove_all(world.store, BUCKET, "in/many-", &err));
    expect(0, ms_store_remove_all(world.store, BUCKET, "no/such", &err));
    expect(0, ms_store_remove_all(world.store, "no-such-bucket", "any", &err));
    expect(MS_EUSAGE, ms_store_remove_all(world.store, BUCKET, "", &err));
    expect(MS_EUSAGE, ms_store_remove_all(world.store, BUCKET, "../x", &err));
    for (size_t i = 3; i < sizeof keys / sizeof *keys; i++)
        expect(0, ms_store_remove(world.store, BUCKET, keys[i], &err));
}

static void says_what_is_missing(void **state) {
    struct ms_store_options options = world.options;
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/missing", world.folder);
    struct ms_object_info info;
    struct heap heap = {0};
    struct ms_store *store;
    for (int i = 0; i < 2; i++) {
        const char *bucket = i == 0 ? BUCKET : "no-such-bucket";
        expect(MS_ENOTFOUND, ms_store_head(world.store, bucket, "no/such", &info, &err));
        expect(MS_ENOTFOUND,
               ms_store_get(world.store, bucket, "no/such", 0, -1, write_heap, &heap, &info, &err));
        expect(MS_ENOTFOUND, ms_store_fetch(world.store, bucket, "no/such", path, INT64_MAX, &err));
    }
    assert_int_not_equal(access(path, F_OK), 0);
    assert_null(heap.bytes);
    expect(MS_ENOTFOUND, put_file("a", "/nonexistent/file", &info, &err));

    options.create_buckets = false;
    store = open_store(&options);
    expect(0, put_text(store, "there", "bucket is there"));
    expect(MS_ENOTFOUND,
           ms_store_put(store, "not-there", "a",
                        &(struct ms_object_source){.bytes = "a", .size = 1}, NULL, &err));
    expect(MS_ENOTFOUND, ms_store_put(store, "not-there", "a",
                                      &(struct ms_object_source){.path = world.large}, NULL, &err));
    ms_store_close(store);
    expect(0, ms_store_put(world.store, "new-one", "a",
                           &(struct ms_object_source){.path = world.large}, NULL, &err));
    expect(0, ms_store_remove(world.store, "new-one", "a", &err));
}

static void keeps_empty_objects(void **state) {
    (void)state;
    expect(0, put_text(world.store, "empty", ""));
    check_text("empty", "");
    struct ms_object_info info;
    struct heap heap = {0};
    expect(0, ms_store_get(world.store, BUCKET, "empty", 0, 9, write_heap, &heap, &info, &err));
    assert_int_equal(info.bytes, 0);
    expect(MS_EUSAGE,
           ms_store_get(world.store, BUCKET, "empty", 1, -1, write_heap, &heap, &info, &err));
    assert_null(heap.bytes);
    char path[96];
    snprintf(path, sizeof path, "%s/empty", world.folder);
    expect(0, ms_store_fetch(world.store, BUCKET, "empty", path, 0, &err));
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 0);
    unlink(path);
}

static void check_range(const char *key, const char *whole, int64_t size, int64_t first,
                        int64_t last) {
    const int64_t end = last < 0 || last >= size ? size - 1 : last;
    struct ms_object_info info;
    struct heap heap = {0};
    expect(0, ms_store_get(world.store, BUCKET, key, first, last, write_heap, &heap, &info, &err));
    assert_int_equal(heap.size, end - first + 1);
    assert_memory_equal(heap.bytes, whole + first, heap.size);
    assert_int_equal(info.bytes, size);
    free(heap.bytes);
}

static void gives_ranges(void **state) {
    static const char text[] = "0123456789";
    struct heap heap = {0};
    (void)state;
    expect(0, put_text(world.store, "range", text));
    for (int first = 0; first < 10; first++) {
        check_range("range", text, 10, first, -1);
        for (int last = first; last < 12; last++)
            check_range("range", text, 10, first, last);
    }
    for (int i = 0; i < 4; i++) {
        static const int64_t none[][2] = {{10, -1}, {10, 20}, {5, 4}, {-3, -1}};
        expect(MS_EUSAGE, ms_store_get(world.store, BUCKET, "range", none[i][0], none[i][1],
                                       write_heap, &heap, NULL, &err));
    }
    assert_null(heap.bytes);
}

static void opens_what_is_a_file_here(void **state) {
    struct ms_object_info info, head;
    char bytes[6] = "";
    int fd;
    (void)state;
    expect(0, put_text(world.store, "open", "hello"));
    expect(0, ms_store_head(world.store, BUCKET, "open", &head, &err));
    if (world.s3) {
        expect(MS_EUNSUPPORTED, ms_store_file(world.store, BUCKET, "open", &fd, &info, &err));
        return;
    }
    expect(0, ms_store_file(world.store, BUCKET, "open", &fd, &info, &err));
    assert_int_equal(read(fd, bytes, sizeof bytes), 5);
    assert_string_equal(bytes, "hello");
    assert_int_equal(info.bytes, 5);
    assert_string_equal(info.etag, head.etag);
    (void)close(fd);
    expect(MS_ENOTFOUND, ms_store_file(world.store, BUCKET, "none", &fd, &info, &err));
    expect(MS_EUSAGE, ms_store_file(world.store, BUCKET, "../open", &fd, &info, &err));
}

static void stores_and_fetches_large_files(void **state) {
    char path[96];
    size_t size;
    char *whole = read_file(world.large, &size);
    (void)state;
    snprintf(path, sizeof path, "%s/fetched", world.folder);
    struct ms_object_info put;
    expect(0, put_file("large", world.large, &put, &err));
    struct ms_object_info head;
    expect(0, ms_store_head(world.store, BUCKET, "large", &head, &err));
    assert_int_equal(head.bytes, LARGE_BYTES);
    char sha256[MS_SHA256_HEX];
    assert_string_equal(head.sha256, world.large_sha256);
    assert_string_equal(put.sha256, world.large_sha256);
    assert_string_equal(put.etag, head.etag);
    expect(0, ms_store_fetch(world.store, BUCKET, "large", path, LARGE_BYTES, &err));
    expect(0, ms_sha256_of_file(path, sha256, &err));
    assert_string_equal(sha256, world.large_sha256);
    unlink(path);
    check_range("large", whole, LARGE_BYTES, 8 * MIB - 5, 8 * MIB + 5);
    check_range("large", whole, LARGE_BYTES, LARGE_BYTES - 1, -1);
    check_range("large", whole, LARGE_BYTES, 0, LARGE_BYTES + 7);
    free(whole);

    expect(MS_ETOOLARGE, ms_store_fetch(world.store, BUCKET, "large", path, LARGE_BYTES - 1, &err));
    assert_int_not_equal(access(path, F_OK), 0);
    /* Exactly one part, and one byte more. */
    for (int more = 0; more < 2; more++) {
        write_file(path, 8 * MIB + more, 7);
        expect(0, ms_sha256_of_file(path, sha256, &err));
        expect(0, put_file("parts", path, NULL, &err));
        unlink(path);
        expect(0, ms_store_fetch(world.store, BUCKET, "parts", path, INT64_MAX, &err));
        expect(0, ms_sha256_of_file(path, head.sha256, &err));
        assert_string_equal(head.sha256, sha256);
        unlink(path);
    }
}

static void finds_damage(void **state) {
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/damaged", world.folder);
    expect(0, put_text(world.store, "damaged", "these bytes are to be damaged"));
    damage("damaged");
    struct heap heap = {0};
    expect(MS_ECORRUPT,
           ms_store_get(world.store, BUCKET, "damaged", 0, -1, write_heap, &heap, NULL, &err));
    expect(MS_ECORRUPT, ms_store_fetch(world.store, BUCKET, "damaged", path, INT64_MAX, &err));
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(count_entries(world.folder), world.s3 ? 1 : 2); /* the large file; the store */
    free(heap.bytes);
}

static void refuses_bytes_that_are_not_what_was_said(void **state) {
    char other[MS_SHA256_HEX];
    const int left = uploads_left();
    (void)state;
    expect(0, ms_sha256_of("other", 5, other, &err));
    expect(MS_ECORRUPT,
           ms_store_put(world.store, BUCKET, "said",
                        &(struct ms_object_source){.bytes = "hello", .size = 5, .sha256 = other},
                        NULL, &err));
    expect(MS_ECORRUPT,
           ms_store_put(world.store, BUCKET, "said",
                        &(struct ms_object_source){.path = world.large, .sha256 = other}, NULL,
                        &err));
    struct ms_object_info info;
    expect(MS_ENOTFOUND, ms_store_head(world.store, BUCKET, "said", &info, &err));
    assert_int_equal(uploads_left(), left);
    expect(0, ms_store_put(
                  world.store, BUCKET, "said",
                  &(struct ms_object_source){.path = world.large, .sha256 = world.large_sha256},
                  &info, &err));
    assert_string_equal(info.sha256, world.large_sha256);
}

static void passes_on_the_takers_failure(void **state) {
    struct heap heap = {.fail_at = 1000};
    (void)state;
    expect(0, put_file("taken", world.large, NULL, &err));
    struct ms_error text;
    assert_int_equal(
        ms_store_get(world.store, BUCKET, "taken", 0, -1, write_heap, &heap, NULL, &text),
        MS_ETOOLARGE);
    assert_string_equal(text.text, "enough");
    free(heap.bytes);
    expect(0, ms_store_ping(world.store, &err)); /* the store is as good as before */
}

static void *cancel_soon(void *context) {
    const struct timespec delay = {.tv_nsec = *(long *)context};
    nanosleep(&delay, NULL);
    atomic_store(&world.cancel, true);
    return NULL;
}

static void stops_when_told(void **state) {
    struct heap heap = {.fail_at = 1000, .cancel_then = &world.cancel};
    char path[96], sha256[MS_SHA256_HEX];
    const struct ms_object_source source = {.path = path, .sha256 = sha256};
    const int left = uploads_left();
    (void)state;
    expect(0, put_file("stop", world.large, NULL, &err));
    expect(MS_ECANCELED,
           ms_store_get(world.store, BUCKET, "stop", 0, -1, write_heap, &heap, NULL, &err));
    assert_true(heap.size < LARGE_BYTES);
    free(heap.bytes);
    atomic_store(&world.cancel, true);
    expect(MS_ECANCELED, put_file("stopped", world.large, NULL, &err));
    atomic_store(&world.cancel, false);
    struct ms_object_info info;
    expect(MS_ENOTFOUND, ms_store_head(world.store, BUCKET, "stopped", &info, &err));

    /* In the midst of it, earlier and earlier should the machine be that quick. The digest is
     * given: storing begins at once. */
    snprintf(path, sizeof path, "%s/sparse", world.folder);
    write_file(path, 0, 0);
    assert_int_equal(truncate(path, 96 * MIB), 0);
    expect(0, ms_sha256_of_file(path, sha256, &err));
    int rc = 0;
    for (long delay_ns = 128000000; rc == 0 && delay_ns > 1000; delay_ns /= 2) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &delay_ns), 0);
        rc = ms_store_put(world.store, BUCKET, "midst", &source, NULL, NULL);
        pthread_join(thread, NULL);
        atomic_store(&world.cancel, false);
        if (rc == 0)
            expect(0, ms_store_remove(world.store, BUCKET, "midst", &err));
    }
    unlink(path);
    assert_int_equal(rc, MS_ECANCELED);
    expect(MS_ENOTFOUND, ms_store_head(world.store, BUCKET, "midst", &info, &err));
    assert_int_equal(uploads_left(), left);
}

/* A child that stores one of two files over the other, over and over; it tells when the first lies
 * there. */
static pid_t start_writer(const char *const paths[2], int *told) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct ms_store *store = open_store(&world.options);
        for (int i = 0;; i++) {
            if (ms_store_put(store, BUCKET, "torn",
                             &(struct ms_object_source){.path = paths[i % 2]}, NULL, NULL) != 0)
                _exit(1);
            if (i == 0 && write(ends[1], "x", 1) != 1)
                _exit(1);
        }
    }
    close(ends[1]);
    *told = ends[0];
    return child;
}

static void check_torn(const char sha256[2][MS_SHA256_HEX]) {
    struct heap heap = {0};
    int rc;
    do { /* replaced while it was read: said so, and nothing torn */
        heap.size = 0;
        rc = ms_store_get(world.store, BUCKET, "torn", 0, -1, write_heap, &heap, NULL, NULL);
    } while (rc == MS_ECONFLICT);
    assert_int_equal(rc, 0);
    char got[MS_SHA256_HEX];
    expect(0, ms_sha256_of(heap.bytes, heap.size, got, &err));
    assert_true(strcmp(got, sha256[0]) == 0 || strcmp(got, sha256[1]) == 0);
    free(heap.bytes);
}

static void never_shows_torn_writes(void **state) {
    static const int64_t sizes[] = {9 * MIB + 1, 3 * MIB}; /* in parts, and in one */
    char paths[2][96], sha256[2][MS_SHA256_HEX];
    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/torn%d", world.folder, i);
        write_file(paths[i], sizes[i], (unsigned)i);
        expect(0, ms_sha256_of_file(paths[i], sha256[i], &err));
    }
    srand(1);
    for (int i = 0; i < 8; i++) {
        const struct timespec delay = {.tv_nsec = rand() % 40000000};
        int told;
        char byte;
        const pid_t child =
            start_writer((const char *const[]){paths[i % 2], paths[1 - i % 2]}, &told);
        assert_int_equal(read(told, &byte, 1), 1);
        check_torn(sha256); /* while it writes */
        nanosleep(&delay, NULL);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        close(told);
        check_torn(sha256); /* after it was killed, most likely in the midst of a write */
    }
    unlink(paths[0]);
    unlink(paths[1]);
}

/* ---- memory ---- */

/* How far memory rises while so many bytes are stored and fetched. */
static long growth_of(int64_t bytes, bool tell) {
    const long begin_kib = peak_begin_kib();
    char path[96];
    snprintf(path, sizeof path, "%s/memory", world.folder);
    char back[96];
    snprintf(back, sizeof back, "%s/back", world.folder);
    write_file(path, bytes, 3);
    double start = ms_monotonic_s();
    expect(0, put_file("memory", path, NULL, &err));
    if (tell)
        printf("stored in %.1f s, ", ms_monotonic_s() - start);
    start = ms_monotonic_s();
    expect(0, ms_store_fetch(world.store, BUCKET, "memory", back, INT64_MAX, &err));
    if (tell)
        printf("fetched in %.1f s, ", ms_monotonic_s() - start);
    unlink(path);
    unlink(back);
    expect(0, ms_store_remove(world.store, BUCKET, "memory", &err));
    return peak_growth_kib(begin_kib);
}

static void needs_no_more_memory_for_large_objects(void **state) {
    (void)state;
    assert_true(growth_of(128 * MIB, false) < 64 * 1024);
}

/* ---- set-up ---- */

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where) {
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static int set_up(void **state) {
    static char store_folder[96];
    (void)state;
    snprintf(world.folder, sizeof world.folder, "%s/msaas-store-XXXXXX",
             getenv("TMPDIR") != NULL && strlen(getenv("TMPDIR")) < 30 ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(world.folder));
    if (world.s3) {
        world.endpoint = getenv("AWS_ENDPOINT_URL_S3");
        world.access_key = getenv("AWS_ACCESS_KEY_ID");
        world.secret_key = getenv("AWS_SECRET_ACCESS_KEY");
        snprintf(world.url, sizeof world.url, "s3://t%d-", (int)getpid());
        snprintf(world.bucket, sizeof world.bucket, "t%d-" BUCKET, (int)getpid());
    } else {
        snprintf(store_folder, sizeof store_folder, "%s/store", world.folder);
        snprintf(world.url, sizeof world.url, "file:%s", store_folder);
    }
    snprintf(world.large, sizeof world.large, "%s/large", world.folder);
    write_file(world.large, LARGE_BYTES, 1);
    expect(0, ms_sha256_of_file(world.large, world.large_sha256, &err));
    world.options = (struct ms_store_options){.url = world.url,
                                              .endpoint = world.endpoint,
                                              .access_key = world.access_key,
                                              .secret_key = world.secret_key,
                                              .ca_file = getenv("AWS_CA_BUNDLE"),
                                              .create_buckets = true,
                                              .backoff_ms = 10,
                                              .cancel = &world.cancel};
    world.store = open_store(&world.options);
    expect(0, ms_store_put(world.store, BUCKET, "first",
                           &(struct ms_object_source){.bytes = "first", .size = 5}, NULL, &err));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    ms_store_close(world.store);
    return nftw(world.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void tells_memory(void **state) {
    const int64_t bytes = *(const int64_t *)*state;
    printf("memory grew by %.1f MiB for %lld MiB\n", (double)growth_of(bytes, true) / 1024,
           (long long)(bytes / MIB));
}

int main(int argc, char **argv) {
    static int64_t bytes;
    const struct CMUnitTest common[] = {
        cmocka_unit_test(stores_describes_gives_back_and_removes),
        cmocka_unit_test(removes_all_that_begins_so),
        cmocka_unit_test(says_what_is_missing),
        cmocka_unit_test(keeps_empty_objects),
        cmocka_unit_test(gives_ranges),
        cmocka_unit_test(opens_what_is_a_file_here),
        cmocka_unit_test(stores_and_fetches_large_files),
        cmocka_unit_test(finds_damage),
        cmocka_unit_test(refuses_bytes_that_are_not_what_was_said),
        cmocka_unit_test(passes_on_the_takers_failure),
        cmocka_unit_test(stops_when_told),
        cmocka_unit_test(needs_no_more_memory_for_large_objects),
        cmocka_unit_test(never_shows_torn_writes), /* last: what was killed leaves something */
    };
    const struct CMUnitTest bench[] = {cmocka_unit_test_prestate(tells_memory, &bytes)};
    if (argc < 2 || (strcmp(argv[1], "file") != 0 && strcmp(argv[1], "s3") != 0)) {
        fprintf(stderr, "usage: %s file|s3 [MIB]\n", argv[0]);
        return 2;
    }
    world.s3 = strcmp(argv[1], "s3") == 0;
    if (argc > 2) {
        bytes = strtoll(argv[2], NULL, 10) * MIB;
        return cmocka_run_group_tests(bench, set_up, tear_down);
    }
    const struct CMUnitTest *const parts[] = {world.s3 ? fault_tests_s3 : fault_tests_file,
                                              upload_tests, name_tests, common};
    const size_t counts[] = {world.s3 ? fault_tests_s3_count : fault_tests_file_count,
                             upload_tests_count, name_tests_count, sizeof common / sizeof *common};
    struct CMUnitTest all[64];
    size_t count = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        assert_true(count + counts[i] <= sizeof all / sizeof *all);
        memcpy(all + count, parts[i], counts[i] * sizeof *all);
        count += counts[i];
    }
    return _cmocka_run_group_tests(argv[1], all, count, set_up, tear_down);
}
