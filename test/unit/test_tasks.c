/* The pool of threads: everything runs, once, in order where one thread runs it; the list has an
 * end. */
#include "msaas/tasks.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_int done;
static int order[64];

static void count(void *argument) {
    order[atomic_fetch_add(&done, 1) % 64] = (int)(intptr_t)argument;
}

static void wait_at_the_gate(void *argument) {
    (void)argument;
    (void)pthread_mutex_lock(&gate);
    (void)pthread_mutex_unlock(&gate);
}

static void all_run_in_order(void **state) {
    (void)state;
    atomic_store(&done, 0);
    struct ms_tasks *tasks = NULL;
    assert_int_equal(ms_tasks_new(1, 64, &tasks, NULL), 0);
    for (intptr_t i = 0; i < 64; i++)
        assert_int_equal(ms_tasks_post(tasks, count, (void *)i, NULL), 0);
    ms_tasks_free(tasks); /* waits for them */
    assert_int_equal(atomic_load(&done), 64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(order[i], i);
}

static void the_list_has_an_end(void **state) {
    (void)state;
    atomic_store(&done, 0);
    (void)pthread_mutex_lock(&gate);
    struct ms_tasks *tasks = NULL;
    assert_int_equal(ms_tasks_new(2, 3, &tasks, NULL), 0);
    int posted = 0;
    while (ms_tasks_post(tasks, wait_at_the_gate, NULL, NULL) == 0)
        assert_true(++posted <= 5); /* two at work, three wait */
    assert_true(posted >= 3);
    (void)pthread_mutex_unlock(&gate);
    ms_tasks_free(tasks);
}

static void nonsense_is_refused(void **state) {
    struct ms_tasks *tasks = NULL;
    (void)state;
    assert_int_equal(ms_tasks_new(0, 1, &tasks, NULL), MS_EUSAGE);
    assert_int_equal(ms_tasks_new(1, 0, &tasks, NULL), MS_EUSAGE);
    ms_tasks_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_run_in_order),
        cmocka_unit_test(the_list_has_an_end),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
