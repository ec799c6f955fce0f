/* The sweeper: what is a day old goes, what is younger stays, and its end does not wait an hour. */
#include "sweeper.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "msaas/log.h"

#define PATIENCE_MS 60000

static char folder[] = "/tmp/msaas-sweeper-XXXXXX";
static struct ms_error err;

/* A file that is so old, in a folder below `folder`. */
static void leave(const char *below, const char *name, int64_t age_s, char path[200]) {
    const struct timespec then[2] = {{.tv_sec = time(NULL) - age_s},
                                     {.tv_sec = time(NULL) - age_s}};
    (void)snprintf(path, 200, "%s/%s/%s", folder, below, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
}

static void removes_what_is_a_day_old(void **state) {
    char url[64], old[200], young[200];
    (void)state;
    (void)snprintf(url, sizeof url, "file:%s", folder);
    const struct ms_sweeper_options options = {.store.url = url};
    (void)snprintf(old, sizeof old, "%s/.tmp", folder);
    assert_int_equal(mkdir(old, 0700), 0);
    leave(".tmp", "old", 86400 + 60, old);
    leave(".tmp", "young", 86400 - 3600, young);
    struct ms_sweeper *sweeper = NULL;
    assert_int_equal(ms_sweeper_new(&options, &sweeper, &err), 0);
    for (int ms = 0; access(old, F_OK) == 0 && ms < PATIENCE_MS; ms += 10)
        (void)usleep(10000);
    ms_sweeper_free(sweeper);
    assert_int_not_equal(access(old, F_OK), 0);
    assert_int_equal(access(young, F_OK), 0);
}

/* More than one page of them. */
static void removes_old_pieces_of_previews(void **state) {
    char url[64], path[200], old[200], young[200], name[40];
    (void)state;
    (void)snprintf(url, sizeof url, "file:%s", folder);
    const struct ms_sweeper_options options = {.store.url = url};
    (void)snprintf(path, sizeof path, "%s/output", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/output/preview", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/output/preview/id", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    leave("output/preview", "id/a-young", 86400 - 3600, young);
    for (int i = 100; i < 250; i++) {
        (void)snprintf(name, sizeof name, "id/bass-%d.flac", i);
        leave("output/preview", name, 86400 + 60, old);
    }
    struct ms_sweeper *sweeper = NULL;
    assert_int_equal(ms_sweeper_new(&options, &sweeper, &err), 0);
    for (int ms = 0; access(old, F_OK) == 0 && ms < PATIENCE_MS; ms += 10)
        (void)usleep(10000);
    ms_sweeper_free(sweeper);
    assert_int_not_equal(access(old, F_OK), 0);
    assert_int_equal(access(young, F_OK), 0);
}

static void needs_a_store(void **state) {
    struct ms_sweeper *sweeper = NULL;
    (void)state;
    assert_int_equal(
        ms_sweeper_new(&(struct ms_sweeper_options){.store.url = "ftp:x"}, &sweeper, &err),
        MS_EUSAGE);
    assert_null(sweeper);
    ms_sweeper_free(NULL);
}

static int set_up(void **state) {
    (void)state;
    ms_log_init("worker", MS_LOG_ERROR, false);
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char command[80];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removes_what_is_a_day_old),
        cmocka_unit_test(removes_old_pieces_of_previews),
        cmocka_unit_test(needs_a_store),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
