/* Threads take no signals, whatever their maker takes; waits end by the clock that nobody sets, or
 * when signalled. */
#include "msaas/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "msaas/sys.h"

static void *look_at_mask(void *argument) {
    (void)pthread_sigmask(SIG_SETMASK, NULL, argument);
    return argument;
}

static void threads_take_no_signals(void **state) {
    sigset_t mask, mine;
    pthread_t thread;
    void *back = NULL;
    (void)state;
    assert_int_equal(sigemptyset(&mask), 0);
    assert_int_equal(ms_thread_start(&thread, 1 << 20, look_at_mask, &mask), 0);
    assert_int_equal(pthread_join(thread, &back), 0);
    assert_ptr_equal(back, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 1);
    assert_int_equal(sigismember(&mask, SIGINT), 1);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
    assert_int_equal(sigismember(&mine, SIGTERM), 0);
    assert_int_not_equal(ms_thread_start(&thread, 1, look_at_mask, &mask), 0); /* no such stack */
}

struct signalled {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool said;
};

static void *say(void *argument) {
    struct signalled *shared = argument;
    (void)pthread_mutex_lock(&shared->lock);
    shared->said = true;
    (void)pthread_cond_signal(&shared->cond);
    (void)pthread_mutex_unlock(&shared->lock);
    return NULL;
}

static void waits_end(void **state) {
    struct signalled shared = {.lock = PTHREAD_MUTEX_INITIALIZER};
    (void)state;
    assert_int_equal(ms_cond_init(&shared.cond), 0);
    assert_int_equal(pthread_mutex_lock(&shared.lock), 0);

    const double until_s = ms_monotonic_s() + 0.05;
    while (ms_cond_wait_until(&shared.cond, &shared.lock, until_s))
        ; /* by chance */
    assert_true(ms_monotonic_s() >= until_s);
    assert_false(ms_cond_wait_until(&shared.cond, &shared.lock, until_s - 10)); /* long past */

    pthread_t thread;
    assert_int_equal(ms_thread_start(&thread, 0, say, &shared), 0);
    while (!shared.said)
        assert_true(ms_cond_wait_until(&shared.cond, &shared.lock, until_s + 60));
    assert_int_equal(pthread_mutex_unlock(&shared.lock), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_cond_destroy(&shared.cond), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_take_no_signals),
        cmocka_unit_test(waits_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
