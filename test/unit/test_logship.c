/* Log lines on their way into the queue's list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "msaas/log.h"
#include "msaas/logship.h"
#include "msaas/queue.h"

static char folder[] = "/tmp/msaas-logship-XXXXXX";
static char url[64];

static int set_up(void **state) {
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(url, sizeof url, "sqlite:%s/queue.db", folder);
    return 0;
}

static int tear_down(void **state) {
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void lines_arrive_in_order(void **state) {
    struct ms_logship *ship;
    (void)state;
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
}

/* The file's lock is taken a few times, not by each line: a push appends the pages that it changes
 * to the log of the file, at least two. */
static void lines_go_together(void **state) {
    enum { LINES = 500, MOST_PAGES = 100 };
    const char *warning = NULL;
    struct ms_logship *ship;
    struct ms_queue *queue;
    struct stat file;
    char name[80], *line;
    (void)state;
    assert_int_equal(ms_queue_open(url, &queue, NULL), 0);
    assert_int_equal(ms_queue_ping(queue, &warning, NULL), 0); /* holds the file open */
    assert_int_equal(ms_logship_new(url, &ship, NULL), 0);
    for (int i = 0; i < LINES; i++)
        ms_logship_line(ship, "one of many lines");
    ms_logship_free(ship);
    snprintf(name, sizeof name, "%s/queue.db-wal", folder);
    assert_int_equal(stat(name, &file), 0);
    assert_in_range(file.st_size, 1, MOST_PAGES * 4096);
    for (int i = 0; i < LINES; i++) {
        assert_int_equal(ms_loglist_pop(queue, 0, &line, NULL), 0);
        free(line);
    }
    ms_queue_close(queue);
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
        cmocka_unit_test_setup_teardown(lines_arrive_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lines_go_together, set_up, tear_down),
        cmocka_unit_test(a_lost_queue_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
