/* Models on their way from a store (a folder here: one seam, one behaviour) into the cache. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "tiny_model.h"

#include "msaas/model_cache.h"
#include "msaas/sys.h"

struct place {
    char root[64];
    char objects[160], models[160], cache[160];
    struct ms_store *store;
};

static struct ms_store *open_store(const struct place *place) {
    struct ms_store_options options = {.create_buckets = true};
    char url[200];
    snprintf(url, sizeof url, "file:%s", place->objects);
    options.url = url;
    struct ms_store *store = NULL;
    assert_int_equal(ms_store_open(&options, &store, NULL), 0);
    return store;
}

static void put_file(const struct place *place, const char *name) {
    char path[400];
    struct ms_object_source source = {.path = path};
    snprintf(path, sizeof path, "%s/%s", place->models, name);
    char key[200];
    snprintf(key, sizeof key, "models/v1/%s", name);
    assert_int_equal(ms_store_put(place->store, "weights", key, &source, NULL, NULL), 0);
}

static void begin(struct place *place, int networks) {
    make_folder(place->root);
    snprintf(place->objects, sizeof place->objects, "%s/objects", place->root);
    snprintf(place->models, sizeof place->models, "%s/models", place->root);
    snprintf(place->cache, sizeof place->cache, "%s/cache/deep", place->root);
    assert_int_equal(ms_make_dirs(place->objects, NULL), 0);
    assert_int_equal(ms_make_dirs(place->models, NULL), 0);
    place->store = open_store(place);
    write_tiny_model(place->models, networks);
    put_file(place, "tiny.json");
    for (int i = 0; i < networks; i++) {
        char name[40];
        snprintf(name, sizeof name, "tiny-%d.safetensors", i);
        put_file(place, name);
    }
}

static void end(struct place *place) {
    ms_store_close(place->store);
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", place->root);
    assert_int_equal(system(command), 0);
}

static int get(struct place *place, char **path, struct ms_error *err) {
    *path = NULL;
    return ms_model_cache_fetch(place->store, "weights", "models/v1/tiny.json", place->cache, NULL,
                                path, err);
}

/* Entries of the cache that begin so. */
static int count(const struct place *place, const char *prefix) {
    DIR *dir = opendir(place->cache);
    assert_non_null(dir);
    struct dirent *entry;
    int found = 0;
    while ((entry = readdir(dir)) != NULL)
        found += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(dir);
    return found;
}

static void fetches_a_model_once(void **state) {
    struct place place;
    (void)state;
    begin(&place, 2);
    struct ms_error err = {0};
    char *first;
    if (get(&place, &first, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(ms_model_verify(first, NULL, NULL), 0);
    struct stat one;
    assert_int_equal(stat(first, &one), 0);
    char *second;
    assert_int_equal(get(&place, &second, &err), 0);
    assert_string_equal(first, second);
    struct stat two;
    assert_int_equal(stat(second, &two), 0);
    assert_int_equal(one.st_ino, two.st_ino); /* not fetched again */
    assert_int_equal(count(&place, "new-"), 0);
    assert_int_equal(count(&place, "at-"), 1);
    free(first);
    free(second);
    end(&place);
}

static void mends_damage_in_the_cache(void **state) {
    struct place place;
    (void)state;
    begin(&place, 1);
    char *path;
    assert_int_equal(get(&place, &path, NULL), 0);
    char *network = ms_strdupf("%.*s/tiny-0.safetensors", (int)(strrchr(path, '/') - path), path);
    write_file(network, "short", 5);
    assert_int_equal(ms_model_verify(path, NULL, NULL), MS_EMODEL);
    free(path);
    assert_int_equal(get(&place, &path, NULL), 0);
    assert_int_equal(ms_model_verify(path, NULL, NULL), 0);
    free(path);
    free(network);
    end(&place);
}

static void refuses_a_bad_model_in_the_store(void **state) {
    struct place place;
    (void)state;
    begin(&place, 1);
    char name[400];
    snprintf(name, sizeof name, "%s/tiny-0.safetensors", place.models);
    write_file(name, "not a network", 13);
    put_file(&place, "tiny-0.safetensors");
    struct ms_error err = {0};
    char *path;
    assert_int_equal(get(&place, &path, &err), MS_EMODEL);
    assert_null(path);
    assert_int_equal(count(&place, "new-"), 0);
    assert_int_equal(count(&place, "at-"), 0);

    assert_int_equal(ms_store_remove(place.store, "weights", "models/v1/tiny-0.safetensors", NULL),
                     0);
    assert_int_equal(get(&place, &path, &err), MS_ENOTFOUND);
    assert_non_null(strstr(err.text, "tiny-0.safetensors"));

    snprintf(name, sizeof name, "%s/tiny.json", place.models);
    write_file(name, "{\"networks\": [{\"file\": \"../x\"}]}", 32);
    put_file(&place, "tiny.json");
    assert_int_equal(get(&place, &path, &err), MS_EMODEL);
    end(&place);
}

static void takes_a_new_version_for_another_model(void **state) {
    struct place place;
    (void)state;
    begin(&place, 1);
    char *first;
    assert_int_equal(get(&place, &first, NULL), 0);
    write_tiny_model(place.models, 2);
    put_file(&place, "tiny.json");
    put_file(&place, "tiny-1.safetensors");
    char *second;
    assert_int_equal(get(&place, &second, NULL), 0);
    assert_string_not_equal(first, second);
    assert_int_equal(ms_model_verify(first, NULL, NULL), 0); /* a worker may be using it */
    assert_int_equal(ms_model_verify(second, NULL, NULL), 0);
    free(first);
    free(second);
    end(&place);
}

/* A worker died while it fetched: what it left is removed, and does no harm. */
static void sweeps_leftovers(void **state) {
    struct place place;
    (void)state;
    begin(&place, 1);
    char name[400];
    snprintf(name, sizeof name, "%s/new-abcdef", place.cache);
    assert_int_equal(ms_make_dirs(name, NULL), 0);
    snprintf(name, sizeof name, "%s/new-abcdef/tiny.json", place.cache);
    write_file(name, "{", 1);
    char *path;
    assert_int_equal(get(&place, &path, NULL), 0);
    assert_int_equal(count(&place, "new-"), 0);
    free(path);
    end(&place);
}

struct getter {
    struct place *place;
    pthread_t thread;
    char *path;
    int rc;
};

static void *get_on_thread(void *user) {
    struct getter *getter = user;
    struct ms_store *store = open_store(getter->place);
    getter->rc = ms_model_cache_fetch(store, "weights", "models/v1/tiny.json", getter->place->cache,
                                      NULL, &getter->path, NULL);
    ms_store_close(store);
    return NULL;
}

static void many_at_once_fetch_it_once(void **state) {
    struct place place;
    (void)state;
    begin(&place, 2);
    struct getter getters[8];
    for (int i = 0; i < 8; i++) {
        getters[i] = (struct getter){.place = &place};
        assert_int_equal(pthread_create(&getters[i].thread, NULL, get_on_thread, &getters[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(getters[i].thread, NULL), 0);
        assert_int_equal(getters[i].rc, 0);
        assert_string_equal(getters[i].path, getters[0].path);
    }
    assert_int_equal(ms_model_verify(getters[0].path, NULL, NULL), 0);
    for (int i = 0; i < 8; i++)
        free(getters[i].path);
    end(&place);
}

static void is_canceled_while_another_fetches(void **state) {
    const atomic_bool cancel = true;
    struct place place;
    (void)state;
    begin(&place, 1);
    assert_int_equal(ms_make_dirs(place.cache, NULL), 0);
    char name[400];
    snprintf(name, sizeof name, "%s/lock", place.cache);
    int lock = open(name, O_RDWR | O_CREAT, 0600);
    assert_true(lock >= 0 && flock(lock, LOCK_EX) == 0);
    char *path = NULL;
    assert_int_equal(ms_model_cache_fetch(place.store, "weights", "models/v1/tiny.json",
                                          place.cache, &cancel, &path, NULL),
                     MS_ECANCELED);
    assert_null(path);
    close(lock);
    end(&place);
}

/* An S3 server that cannot be reached: nothing listens on port 1 of loopback. */
static void refuses_bad_words(void **state) {
    static const char *const wrong[] = {"s3://",        "s3://bucket",       "s3://bucket/",
                                        "s3:///x.json", "s3://bucket/model", "file.json"};
    const struct ms_store_options options = {
        .endpoint = "http://127.0.0.1:1", .access_key = "a", .secret_key = "s", .attempts = 1};
    struct ms_error err = {0};
    struct place place;
    char *path;
    (void)state;
    assert_true(ms_model_is_remote("s3://bucket/x.json"));
    assert_false(ms_model_is_remote("htdemucs"));
    assert_false(ms_model_is_remote("./s3/x.json"));
    begin(&place, 1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(ms_model_cache_get(wrong[i], &options, place.cache, &path, &err),
                         MS_EUSAGE);
    assert_int_equal(
        ms_model_cache_get("s3://weights/models/v1/tiny.json", &options, place.cache, &path, &err),
        MS_ENET);
    assert_null(path);
    /* What was fetched before serves while the bucket cannot be reached. */
    assert_int_equal(get(&place, &path, NULL), 0);
    free(path);
    assert_int_equal(
        ms_model_cache_get("s3://weights/models/v1/tiny.json", &options, place.cache, &path, &err),
        0);
    assert_int_equal(ms_model_verify(path, NULL, NULL), 0);
    free(path);
    end(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetches_a_model_once),
        cmocka_unit_test(mends_damage_in_the_cache),
        cmocka_unit_test(refuses_a_bad_model_in_the_store),
        cmocka_unit_test(takes_a_new_version_for_another_model),
        cmocka_unit_test(sweeps_leftovers),
        cmocka_unit_test(many_at_once_fetch_it_once),
        cmocka_unit_test(is_canceled_while_another_fetches),
        cmocka_unit_test(refuses_bad_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
