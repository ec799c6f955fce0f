/* The shared lists of waiting jobs: short ones are always new, long ones are shared, and memory has
 * a limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "msaas/sys.h"
#include "waiting.h"

#define MANY 1001 /* one more than a short list has */

static char folder[] = "/tmp/msaas-waiting-XXXXXX", url[64];
static struct ms_queue *queue;
static struct ms_waiting_lists lists;
static struct ms_error err;

static int set_up(void **state) {
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(url, sizeof url, "sqlite:%s/queue.db", folder);
    assert_int_equal(ms_queue_open(url, &queue, &err), 0);
    ms_waiting_init(&lists);
    return 0;
}

static int tear_down(void **state) {
    char command[64];
    (void)state;
    ms_waiting_fini(&lists);
    ms_queue_close(queue);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void put(int number) {
    struct ms_job_options options;
    struct ms_job job;
    char song[32];
    bool created;
    const int size = snprintf(song, sizeof song, "song %d", number);
    ms_job_options_default("m", &options);
    assert_int_equal(ms_job_init(&job, song, (size_t)size, &options, "m", &err), 0);
    if (ms_queue_enqueue(queue, &job, &created, NULL, &err) != 0)
        fail_msg("%s", err.text);
    ms_job_fini(&job);
}

/* The whole text, taken `step` bytes at a time. */
static char *text_of(const struct ms_waiting *list, size_t step) {
    const size_t whole = ms_waiting_text_bytes(list);
    char *text = calloc(1, whole + 1);
    size_t some = 1, at = 0;
    assert_non_null(text);
    for (; some > 0; at += some)
        assert_int_equal(ms_waiting_text(&lists, list, at, text + at,
                                         step < whole - at ? step : whole - at, &some, &err),
                         0);
    assert_int_equal(at, whole);
    return text;
}

static struct ms_waiting *get(void) {
    struct ms_waiting *list = NULL;
    if (ms_waiting_get(&lists, queue, NULL, &list, &err) != 0)
        fail_msg("%s", err.text);
    return list;
}

static void expect_jobs(int count) {
    struct ms_waiting *list = get();
    char *text = text_of(list, 1 << 20), *again = text_of(list, 7);
    assert_string_equal(text, again);
    int commas = 0;
    for (const char *at = text; *at != '\0'; at++)
        commas += *at == ',';
    assert_int_equal(commas, count > 0 ? count - 1 : 0);
    free(text);
    free(again);
    ms_waiting_give_back(&lists, list);
}

static void a_short_list_is_never_old(void **state) {
    (void)state;
    struct ms_waiting *list = get();
    char *text = text_of(list, 100);
    assert_string_equal(text, "{\"queue\":[]}");
    free(text);
    ms_waiting_give_back(&lists, list);
    put(0);
    expect_jobs(1);
    put(1);
    expect_jobs(2);
    char ids[2][MS_JOB_ID_HEX], next[MS_CURSOR_MAX], expected[200];
    int count;
    assert_int_equal(ms_queue_waiting(queue, "", 2, ids, &count, next, &err), 0);
    (void)snprintf(expected, sizeof expected, "{\"queue\":[\"%s\",\"%s\"]}", ids[0], ids[1]);
    list = get();
    text = text_of(list, 100);
    assert_string_equal(text, expected);
    free(text);
    ms_waiting_give_back(&lists, list);
}

static void a_long_list_is_shared(void **state) {
    (void)state;
    char command[600];
    (void)snprintf(
        command, sizeof command,
        "python3 -c 'import sqlite3; db = sqlite3.connect(\"%s/queue.db\"); "
        "[db.execute(\"INSERT INTO jobs SELECT ?, revision, replace(doc, id, ?), state, place, "
        "seq + ?, token, created + ?, lease_until, not_before, flags, due, started, "
        "attempts, model, owner FROM jobs WHERE seq = 1\", (\"%%056x\" %% n, \"%%056x\" %% n, n + "
        "9, n)) "
        "for n in range(%d)]; db.commit()'",
        folder, MANY - 2);
    assert_int_equal(system(command), 0);
    expect_jobs(MANY);
    const double until_s = ms_monotonic_s() + 60;
    for (bool shared = false; !shared;) { /* unless this machine slept for a second in between */
        struct ms_waiting *first = get(), *second = get();
        shared = first == second;
        ms_waiting_give_back(&lists, first);
        ms_waiting_give_back(&lists, second);
        assert_true(shared || ms_monotonic_s() < until_s);
    }
}

/* Who holds a list for long loses it, when newer ones need its memory. */
static void the_oldest_are_given_up(void **state) {
    (void)state;
    lists.most_bytes = lists.bytes + 1;
    struct ms_waiting *old = get();
    struct ms_waiting *list = get();
    const double until_s = ms_monotonic_s() + 60;
    while (list == old) { /* it is kept for a while */
        assert_true(ms_monotonic_s() < until_s);
        (void)usleep(10000);
        ms_waiting_give_back(&lists, list);
        list = get();
    }
    char text[100];
    size_t size;
    assert_int_equal(ms_waiting_text(&lists, list, 0, text, sizeof text, &size, &err), 0);
    assert_int_equal(size, sizeof text);
    assert_int_equal(ms_waiting_text(&lists, old, 0, text, sizeof text, &size, &err), MS_ETOOLARGE);
    ms_waiting_give_back(&lists, old);
    ms_waiting_give_back(&lists, list);
    assert_ptr_equal(lists.all, lists.newest);
}

static void put_of(const char *owner, char id[MS_JOB_ID_HEX]) {
    struct ms_job_options options;
    struct ms_job job;
    bool created;
    ms_job_options_default("m", &options);
    assert_int_equal(ms_job_init(&job, owner, 3, &options, "m", &err), 0);
    assert_int_equal(ms_job_set_owner(&job, owner, &err), 0);
    assert_int_equal(ms_queue_enqueue(queue, &job, &created, NULL, &err), 0);
    memcpy(id, job.id, MS_JOB_ID_HEX);
    ms_job_fini(&job);
}

/* owner "": of those without one. */
static void expect_list(const char *owner, const char *expected, int commas) {
    struct ms_waiting *list = NULL;
    assert_int_equal(ms_waiting_get(&lists, queue, owner, &list, &err), 0);
    char *text = text_of(list, 100);
    int found = 0;
    for (const char *at = text; *at != '\0'; at++)
        found += *at == ',';
    if (expected != NULL)
        assert_string_equal(text, expected);
    assert_int_equal(found, commas);
    free(text);
    ms_waiting_give_back(&lists, list);
}

static void each_owner_sees_its_own(void **state) {
    char alice[MS_JOB_ID_HEX], bob[MS_JOB_ID_HEX], expected[100];
    (void)state;
    put_of("alice", alice);
    put_of("bob", bob);
    (void)snprintf(expected, sizeof expected, "{\"queue\":[\"%s\"]}", alice);
    expect_list("alice", expected, 0);
    (void)snprintf(expected, sizeof expected, "{\"queue\":[\"%s\"]}", bob);
    expect_list("bob", expected, 0);
    expect_list("carol", "{\"queue\":[]}", 0);
    expect_list("", NULL, 1);   /* the two of the test before */
    expect_list(NULL, NULL, 3); /* all */
    bool gone;
    assert_int_equal(ms_queue_erase(queue, alice, NULL, &gone, NULL, &err), 0);
    assert_int_equal(ms_queue_erase(queue, bob, NULL, &gone, NULL, &err), 0);
    assert_ptr_equal(lists.all, lists.newest); /* nothing stays */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_list_is_never_old),
        cmocka_unit_test(each_owner_sees_its_own),
        cmocka_unit_test(a_long_list_is_shared),
        cmocka_unit_test(the_oldest_are_given_up),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
