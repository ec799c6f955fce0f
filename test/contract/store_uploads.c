/* What clients' uploads stand on, on every backend: objects that must be new, objects that are read
 * from elsewhere while they are stored, lists, and URLs that take an object. */
#include <ftw.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#include "contract.h"
#include "msaas/sys.h"

static int put_new(struct ms_store *store, const char *key, const char *text,
                   struct ms_object_info *info, struct ms_error *err) {
    return ms_store_put(
        store, BUCKET, key,
        &(struct ms_object_source){.bytes = text, .size = (int64_t)strlen(text), .exclusive = true},
        info, err);
}

static void stores_only_what_is_new(void **state) {
    const int left = uploads_left();
    struct ms_object_info info;
    (void)state;
    expect(0, put_new(world.store, "new/one", "first", &info, &err));
    assert_int_equal(info.bytes, 5);
    expect(MS_ECONFLICT, put_new(world.store, "new/one", "second", NULL, &err));
    check_text("new/one", "first");
    expect(0, put_text(world.store, "new/one", "third")); /* who does not mind goes over it */
    check_text("new/one", "third");
    expect(0, ms_store_remove(world.store, BUCKET, "new/one", &err));
    expect(0, put_new(world.store, "new/one", "fourth", NULL, &err));
    check_text("new/one", "fourth");
    expect(0, ms_store_remove(world.store, BUCKET, "new/one", &err));
    expect(0, ms_store_put(world.store, "fresh-bucket", "a",
                           &(struct ms_object_source){.bytes = "a", .size = 1, .exclusive = true},
                           NULL, &err));
    expect(0, ms_store_remove(world.store, "fresh-bucket", "a", &err));
    /* Larger than what S3 takes in parts otherwise. */
    const struct ms_object_source large = {.path = world.large, .exclusive = true};
    expect(0, ms_store_put(world.store, BUCKET, "new/large", &large, &info, &err));
    assert_string_equal(info.sha256, world.large_sha256);
    expect(MS_ECONFLICT, ms_store_put(world.store, BUCKET, "new/large", &large, NULL, &err));
    expect(0, ms_store_remove(world.store, BUCKET, "new/large", &err));
    assert_int_equal(uploads_left(), left);
}

enum { RACERS = 16, ROUNDS = 5 };

struct racer {
    pthread_barrier_t *start;
    int round, number;
    int rc;
};

static void *race(void *user) {
    struct racer *racer = user;
    struct ms_store *store = open_store(&world.options);
    char key[40], text[40];
    snprintf(key, sizeof key, "race/%d/object", racer->round);
    snprintf(text, sizeof text, "racer %d", racer->number);
    pthread_barrier_wait(racer->start);
    racer->rc = put_new(store, key, text, NULL, NULL);
    ms_store_close(store);
    return NULL;
}

static void lets_one_of_many_store(void **state) {
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_t start;
        pthread_t threads[RACERS];
        struct racer racers[RACERS];
        char key[40], text[40];
        int winner = -1;
        pthread_barrier_init(&start, NULL, RACERS);
        for (int i = 0; i < RACERS; i++) {
            racers[i] = (struct racer){.start = &start, .round = round, .number = i};
            assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
        }
        for (int i = 0; i < RACERS; i++) {
            pthread_join(threads[i], NULL);
            if (racers[i].rc == 0) {
                assert_int_equal(winner, -1);
                winner = i;
            } else {
                assert_int_equal(racers[i].rc, MS_ECONFLICT);
            }
        }
        assert_int_not_equal(winner, -1);
        snprintf(key, sizeof key, "race/%d/object", round);
        snprintf(text, sizeof text, "racer %d", winner);
        check_text(key, text);
        expect(0, ms_store_remove(world.store, BUCKET, key, &err));
        pthread_barrier_destroy(&start);
    }
}

/* Writers and removers meet in one folder: none of them fails for the other. */
static void *come_and_go(void *user) {
    struct racer *racer = user;
    struct ms_store *store = open_store(&world.options);
    char key[40];
    snprintf(key, sizeof key, "meet/here/%d", racer->number);
    for (int i = 0; i < 20 && racer->rc == 0; i++) {
        racer->rc = put_new(store, key, "x", NULL, NULL);
        if (racer->rc == 0)
            racer->rc = ms_store_remove(store, BUCKET, key, NULL);
    }
    ms_store_close(store);
    return NULL;
}

static int find_meeting(const char *path, const struct stat *status, int kind, struct FTW *where) {
    (void)status;
    (void)kind;
    return strcmp(path + where->base, "meet") == 0;
}

static void leaves_no_empty_folders(void **state) {
    pthread_t threads[4];
    struct racer racers[4] = {{0}};
    (void)state;
    for (int i = 0; i < 4; i++) {
        racers[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &racers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].rc, 0);
    }
    assert_int_equal(nftw(world.folder, find_meeting, 16, FTW_PHYS), 0);
}

/* ---- what is read while it is stored ---- */

struct well {
    const char *bytes;
    int64_t size;
    int64_t fails_at; /* -1: never */
};

static int draw(void *context, int64_t offset, void *buffer, size_t size, struct ms_error *err) {
    const struct well *well = context;
    assert_true(offset >= 0 && offset + (int64_t)size <= well->size);
    if (well->fails_at >= 0 && offset + (int64_t)size > well->fails_at)
        return ms_error_set(err, MS_ENOTFOUND, "dry");
    memcpy(buffer, well->bytes + offset, size);
    return 0;
}

static void stores_what_is_read_meanwhile(void **state) {
    const int left = uploads_left();
    size_t size;
    char *bytes = read_file(world.large, &size);
    struct well well = {bytes, LARGE_BYTES, -1};
    struct ms_object_source source = {.read = draw, .context = &well, .size = LARGE_BYTES};
    struct ms_object_info info;
    (void)state;
    expect(0, ms_store_put(world.store, BUCKET, "read/large", &source, &info, &err));
    assert_string_equal(info.sha256, world.large_sha256);
    source.sha256 = world.large_sha256;
    expect(0, ms_store_put(world.store, BUCKET, "read/large", &source, &info, &err));
    well.size = source.size = 100;
    source.sha256 = NULL;
    expect(0, ms_store_put(world.store, BUCKET, "read/small", &source, &info, &err));
    assert_int_equal(info.bytes, 100);
    well.size = source.size = LARGE_BYTES;
    well.fails_at = LARGE_BYTES - 5;
    expect(MS_ENOTFOUND, ms_store_put(world.store, BUCKET, "read/dry", &source, NULL, &err));
    source.sha256 = world.large_sha256;
    expect(MS_ENOTFOUND, ms_store_put(world.store, BUCKET, "read/dry", &source, NULL, &err));
    expect(MS_ENOTFOUND, ms_store_head(world.store, BUCKET, "read/dry", &info, &err));
    assert_int_equal(uploads_left(), left);
    free(bytes);
}

/* ---- lists ---- */

static const char *const listed[] = {
    "list-a/x",   "list/a",       "list/a b/1", "list/a+b&c=d", "list/a-b", "list/a/1",
    "list/a/1-2", "list/a/1/2/3", "list/a/10",  "list/a<>&\"'", "list/b",   "list/\xc3\xa4",
};

/* In a folder a name is an object or a folder, not both. */
static bool is_possible(const char *key) {
    return world.s3 || (strcmp(key, "list/a") != 0 && strcmp(key, "list/a/1") != 0);
}

static int collect(const char *prefix, const char *after, int max,
                   char keys[64][MS_STORE_KEY_BYTES]) {
    struct ms_object_entry *page = calloc((size_t)max, sizeof *page);
    char from[MS_STORE_KEY_BYTES];
    int total = 0, count = 1;
    assert_non_null(page);
    snprintf(from, sizeof from, "%s", after);
    while (count > 0) {
        expect(0, ms_store_list(world.store, BUCKET, prefix, from, max, page, &count, &err));
        assert_true(count <= max);
        for (int i = 0; i < count; i++) {
            assert_true(total < 64);
            assert_int_equal(page[i].bytes, strlen(page[i].key));
            assert_true(page[i].modified_ms > (int64_t)(time(NULL) - 600) * 1000);
            memcpy(keys[total++], page[i].key, sizeof page[i].key);
            memcpy(from, page[i].key, sizeof from);
        }
    }
    free(page);
    return total;
}

static void lists_in_order(void **state) {
    static const char *const prefixes[] = {"list/",   "list/a", "list/a/", "list/a/1",
                                           "list-a/", "list",   "list/c",  "nothing/"};
    static const char *const afters[] = {"", "list/a", "list/a/1", "list/a0", "list/b", "zzz"};
    static const int maxima[] = {1, 2, 3, 500};
    static char keys[64][MS_STORE_KEY_BYTES];
    const size_t all = sizeof listed / sizeof *listed;
    (void)state;
    for (size_t i = 0; i < all; i++)
        if (is_possible(listed[i]))
            expect(0, put_text(world.store, listed[i], listed[i]));
    for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++)
        for (size_t a = 0; a < sizeof afters / sizeof *afters; a++)
            for (size_t m = 0; m < sizeof maxima / sizeof *maxima; m++) {
                const int count = collect(prefixes[p], afters[a], maxima[m], keys);
                int wanted = 0;
                for (size_t i = 0; i < all; i++) {
                    if (!is_possible(listed[i]) ||
                        strncmp(listed[i], prefixes[p], strlen(prefixes[p])) != 0 ||
                        strcmp(listed[i], afters[a]) <= 0)
                        continue;
                    assert_true(wanted < count);
                    assert_string_equal(keys[wanted], listed[i]);
                    wanted++;
                }
                assert_int_equal(count, wanted);
            }
    for (size_t i = 0; i < all; i++)
        expect(0, ms_store_remove(world.store, BUCKET, listed[i], &err));
    assert_int_equal(collect("list/", "", 10, keys), 0);
    struct ms_object_entry entry;
    int count;
    expect(0, ms_store_list(world.store, "no-such-bucket", "list/", "", 1, &entry, &count, &err));
    assert_int_equal(count, 0);
    expect(MS_EUSAGE, ms_store_list(world.store, BUCKET, "../", "", 1, &entry, &count, &err));
    expect(MS_EUSAGE, ms_store_list(world.store, BUCKET, "a//", "", 1, &entry, &count, &err));
    expect(MS_EUSAGE, ms_store_list(world.store, BUCKET, "", "a/../b", 1, &entry, &count, &err));
    expect(MS_EUSAGE, ms_store_list(world.store, BUCKET, "", "", 0, &entry, &count, &err));
    expect(MS_EUSAGE, ms_store_list(world.store, BUCKET, "", "", 501, &entry, &count, &err));
}

/* More than one page of S3's own. */
static void lists_many(void **state) {
    enum { MANY = 1100 };
    struct ms_object_entry *page = calloc(MS_STORE_PAGE_MAX, sizeof *page);
    char key[MS_STORE_KEY_BYTES] = "";
    int total = 0, count = 1;
    (void)state;
    assert_non_null(page);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "many/%04d", i);
        expect(0, put_text(world.store, key, "x"));
    }
    for (key[0] = '\0'; count > 0;) {
        expect(0, ms_store_list(world.store, BUCKET, "many/", key, MS_STORE_PAGE_MAX, page, &count,
                                &err));
        for (int i = 0; i < count; i++, total++) {
            snprintf(key, sizeof key, "many/%04d", total);
            assert_string_equal(page[i].key, key);
        }
    }
    assert_int_equal(total, MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "many/%04d", i);
        expect(0, ms_store_remove(world.store, BUCKET, key, &err));
    }
    free(page);
}

/* ---- URLs that take an object ---- */

/* What S3 answers to curl, which PUTs the text. */
static int curl_put(const char *url, const char *text, const char *header) {
    char path[96];
    snprintf(path, sizeof path, "%s/status", world.folder);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (freopen(path, "w", stdout) == NULL)
            _exit(127);
        execlp("curl", "curl", "-s", "--noproxy", "*", "-X", "PUT", "-o", "/dev/null", "-w",
               "%{http_code}", "-H", "Content-Type:", "-H", header, "--data-binary", text, url,
               (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    size_t size;
    char *answer = read_file(path, &size);
    const int code = (int)strtol(answer, NULL, 10);
    free(answer);
    unlink(path);
    return code;
}

static void presigns_one_put_of_one_size(void **state) {
    static const char once[] = "If-None-Match: *";
    char *url = NULL;
    struct ms_object_info info;
    (void)state;
    if (!world.s3) {
        expect(MS_EUNSUPPORTED,
               ms_store_presign_put(world.store, BUCKET, "put/a", 5, 60, &url, &err));
        return;
    }
    expect(0, ms_store_presign_put(world.store, BUCKET, "put/a", 5, 60, &url, &err));
    assert_int_equal(curl_put(url, "too long", once) / 100, 4);
    assert_int_equal(curl_put(url, "4 by", once) / 100, 4);
    assert_int_equal(curl_put(url, "right", "X-Other: a") / 100, 4); /* may go over another */
    expect(MS_ENOTFOUND, ms_store_head(world.store, BUCKET, "put/a", &info, &err));
    assert_int_equal(curl_put(url, "right", once), 200);
    check_text("put/a", "right");
    assert_int_equal(curl_put(url, "again", once), 412);
    check_text("put/a", "right");
    expect(0, ms_store_remove(world.store, BUCKET, "put/a", &err));
    free(url);
}

const struct CMUnitTest upload_tests[] = {
    cmocka_unit_test(stores_only_what_is_new),
    cmocka_unit_test(lets_one_of_many_store),
    cmocka_unit_test(leaves_no_empty_folders),
    cmocka_unit_test(stores_what_is_read_meanwhile),
    cmocka_unit_test(lists_in_order),
    cmocka_unit_test(lists_many),
    cmocka_unit_test(presigns_one_put_of_one_size),
};
const size_t upload_tests_count = sizeof upload_tests / sizeof *upload_tests;
