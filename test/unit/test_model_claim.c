/* Who of several processes fetches a model: a folder is the store here (one seam, one behaviour;
 * test/model/test_store.py has a real S3 server). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/job.h"
#include "msaas/model_store.h"
#include "msaas/sys.h"

#define KEY "models/tiny.claim"

static char root[64], url[80];
static struct ms_store_options options;
static struct ms_store *store;
static atomic_int waiting, holders, most, done;

static int begin(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/msaas-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(url, sizeof url, "file:%s", root);
    options = (struct ms_store_options){.url = url, .create_buckets = true};
    assert_int_equal(ms_store_open(&options, &store, NULL), 0);
    waiting = holders = most = done = 0;
    return 0;
}

static int end(void **state) {
    char command[100];
    (void)state;
    ms_store_close(store);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void note_wait(void) {
    waiting++;
}

static int take(double patience_s, struct ms_model_claim **out) {
    const struct ms_model_claim_options claiming = {
        .store = &options, .name = "tiny", .patience_s = patience_s, .wait = note_wait};
    return ms_model_claim_take(&claiming, out, NULL);
}

static int head(struct ms_object_info *info) {
    return ms_store_head(store, MS_BUCKET_SONGS, KEY, info, NULL);
}

/* As a process leaves it that was killed. */
static void put_dead_claim(void) {
    const struct ms_object_source source = {.bytes = "dead", .size = 4};
    assert_int_equal(ms_store_put(store, MS_BUCKET_SONGS, KEY, &source, NULL, NULL), 0);
}

static void *take_on_thread(void *user) {
    struct ms_model_claim *claim = NULL;
    (void)user;
    if (take(0, &claim) == 0) {
        const int now = ++holders;
        if (now > most)
            most = now;
        usleep(10000); /* to be seen by the others, if they do not wait */
        holders--;
        done++;
        ms_model_claim_release(claim);
    }
    return NULL;
}

static void one_holds_it_at_a_time(void **state) {
    struct ms_model_claim *claim;
    struct ms_object_info info;
    pthread_t threads[4];
    (void)state;
    assert_int_equal(take(0, &claim), 0);
    assert_int_equal(head(&info), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_on_thread, NULL), 0);
    while (waiting < 4)
        usleep(1000);
    assert_int_equal(done, 0);
    ms_model_claim_release(claim);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(done, 4);
    assert_int_equal(most, 1);
    assert_int_equal(head(&info), MS_ENOTFOUND);
}

static void that_of_a_dead_process_is_taken(void **state) {
    struct ms_model_claim *claim;
    struct ms_object_info info;
    (void)state;
    put_dead_claim();
    assert_int_equal(take(0.05, &claim), 0);
    assert_int_equal(waiting, 1);
    ms_model_claim_release(claim);
    assert_int_equal(head(&info), MS_ENOTFOUND);
}

static void a_live_one_is_renewed(void **state) {
    struct ms_model_claim *claim;
    struct ms_object_info first, now;
    (void)state;
    assert_int_equal(take(0.06, &claim), 0);
    assert_int_equal(head(&first), 0);
    do {
        usleep(1000);
        assert_int_equal(head(&now), 0);
    } while (strcmp(first.etag, now.etag) == 0);
    ms_model_claim_release(claim);
}

static void waiting_is_canceled(void **state) {
    const atomic_bool cancel = true;
    struct ms_model_claim *claim;
    struct ms_object_info info;
    (void)state;
    put_dead_claim();
    options.cancel = &cancel;
    assert_int_equal(take(0, &claim), MS_ECANCELED);
    assert_null(claim);
    assert_int_equal(head(&info), 0); /* it is not the waiting one's to end */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_holds_it_at_a_time, begin, end),
        cmocka_unit_test_setup_teardown(that_of_a_dead_process_is_taken, begin, end),
        cmocka_unit_test_setup_teardown(a_live_one_is_renewed, begin, end),
        cmocka_unit_test_setup_teardown(waiting_is_canceled, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
