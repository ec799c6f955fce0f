/* The walls around the decoder's process: each thing that a hostile file would want is tried from
 * inside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"

static bool opens_a_file(void) {
    return open("/etc/passwd", O_RDONLY) >= 0;
}

static bool makes_a_file(void) {
    return open("/tmp", O_TMPFILE | O_WRONLY, 0600) >= 0;
}

static bool opens_a_socket(void) {
    return socket(AF_INET, SOCK_STREAM, 0) >= 0 || socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static bool runs_a_program(void) {
    (void)execl("/bin/true", "true", (char *)NULL);
    return false; /* it would have ended with exit code 0, which no trial below gives */
}

static bool makes_a_process(void) {
    return fork() >= 0;
}

static bool signals_its_parent(void) {
    return kill(getppid(), 0) == 0;
}

static bool raises_its_limits(void) {
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_CPU, &none) == 0 || setrlimit(RLIMIT_AS, &none) == 0;
}

static bool ignores_the_limit_of_time(void) {
    return signal(SIGXCPU, SIG_IGN) != SIG_ERR;
}

static bool makes_code(void) {
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
           MAP_FAILED;
}

static bool takes_memory(void) {
    const size_t bytes = (size_t)400 << 20;
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
               MAP_FAILED ||
           mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) !=
               MAP_FAILED;
}

static bool is_dumpable(void) {
    return prctl(PR_GET_DUMPABLE) == 1;
}

static bool works_at_all(void) {
    char *some = malloc(64 << 20);
    const bool works = some != NULL;
    free(some);
    return works;
}

/* How a confined process ends that tries this: 1: it could; 2: it could not. */
static int end_of(bool (*trial)(void)) {
    const pid_t pid = fork();
    if (pid == 0) {
        (void)ms_confine(1);
        _exit(trial() ? 1 : 2);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void it_has_memory_and_no_more(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool (*trial)(void);
    } trials[] = {
        {"opens a file", opens_a_file},
        {"makes a file", makes_a_file},
        {"opens a socket", opens_a_socket},
        {"runs a program", runs_a_program},
        {"makes a process", makes_a_process},
        {"signals its parent", signals_its_parent},
        {"raises its limits", raises_its_limits},
        {"ignores the limit of time", ignores_the_limit_of_time},
        {"makes code", makes_code},
        {"takes memory", takes_memory},
        {"is dumpable", is_dumpable},
    };
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        if (trials[i].trial == takes_memory && !MS_LIMITS_MEMORY)
            continue;
        if (end_of(trials[i].trial) != 2 << 8)
            fail_msg("it %s", trials[i].name);
    }
    assert_int_equal(end_of(works_at_all), 1 << 8);
}
static void no_wall_is_missing_here(void **state) {
    (void)state;
    const pid_t pid = fork();
    if (pid == 0)
        _exit((int)ms_confine(1));
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    /* The kernel that tests run on may be older than Landlock. */
    assert_int_equal(WEXITSTATUS(status) & ~MS_WALL_LANDLOCK, 0);
}

static void it_ends_with_its_time(void **state) {
    (void)state;
    const pid_t pid = fork();
    if (pid == 0) {
        (void)ms_confine(1);
        for (volatile unsigned i = 0;; i++)
            continue;
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
}

/* The kernel ends it: no parent is there any more to do so. */
static void it_ends_with_its_parent(void **state) {
    (void)state;
    int alive[2]; /* readable at its end: every holder is gone */
    assert_int_equal(pipe(alive), 0);
    const pid_t parent = fork();
    if (parent == 0) {
        int confined[2];
        char byte;
        if (pipe(confined) != 0)
            _exit(1);
        if (fork() == 0) {
            (void)ms_confine(60);
            (void)!write(confined[1], "x", 1);
            for (volatile unsigned i = 0;; i++)
                continue;
        }
        _exit(read(confined[0], &byte, 1) == 1 ? 0 : 1);
    }
    int status = -1;
    char byte;
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(status, 0);
    (void)close(alive[1]);
    assert_int_equal(read(alive[0], &byte, 1), 0);
    (void)close(alive[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_memory_and_no_more),
        cmocka_unit_test(no_wall_is_missing_here),
        cmocka_unit_test(it_ends_with_its_time),
        cmocka_unit_test(it_ends_with_its_parent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
