/* Log lines on their way into the queue's list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/log.h"
#include "msaas/logship.h"
#include "msaas/queue.h"

static void lines_arrive_in_order(void **state) {
    char folder[] = "/tmp/msaas-logship-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(folder));
    char url[64];
    snprintf(url, sizeof url, "sqlite:%s/queue.db", folder);
    struct ms_logship *ship;
    struct ms_error err = {0};
    if (ms_logship_new(url, &ship, &err) != 0)
        fail_msg("%s", err.text);
    ms_log_init("worker", MS_LOG_ERROR, false);
    ms_log_set_shipper(ms_logship_line, ship);
    for (int i = 0; i < 20; i++)
        ms_log(MS_LOG_ERROR, "line %d of a test", i);
    ms_log_set_shipper(NULL, NULL);
    struct ms_queue *queue;
    assert_int_equal(ms_queue_open(url, &queue, NULL), 0);
    char *line;
    for (int i = 0; i < 20; i++) {
        if (ms_loglist_pop(queue, 60000, &line, &err) != 0)
            fail_msg("%s", err.text);
        char expected[64];
        snprintf(expected, sizeof expected, ".worker.error:line %d of a test", i);
        assert_non_null(strstr(line, expected));
        free(line);
    }
    ms_logship_line(ship, "the last word");
    ms_logship_free(ship); /* takes it along */
    assert_int_equal(ms_loglist_pop(queue, 0, &line, &err), 0);
    assert_string_equal(line, "the last word");
    free(line);
    ms_queue_close(queue);
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* Nothing listens on port 1 of loopback. */
static void a_lost_queue_holds_nobody_up(void **state) {
    struct ms_logship *ship;
    (void)state;
    assert_int_equal(ms_logship_new("redis://127.0.0.1:1", &ship, NULL), 0);
    for (int i = 0; i < MS_LOGSHIP_LINES + 500; i++)
        ms_logship_line(ship, "a line that nobody will read");
    ms_logship_free(ship);
    assert_int_equal(ms_logship_new("nonsense", &ship, NULL), MS_EUSAGE);
    ms_logship_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_arrive_in_order),
        cmocka_unit_test(a_lost_queue_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
