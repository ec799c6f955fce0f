/* See queue_contract.h. */
#include "queue_contract.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../tools/server_port.h"

bool redis;
char folder[64], url[128], port[8];
struct ms_queue *queue;
struct ms_error err;
static pid_t server;

/* ---- servers ---- */

void nap(void) {
    const struct timespec pause = {.tv_nsec = 10 * 1000000L};
    (void)nanosleep(&pause, NULL);
}

void start_server(void) {
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves nobody behind */
        (void)execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir",
                     folder, "--appendonly", "yes", "--appendfsync", "always", "--save", "",
                     "--logfile", "redis.log", "--requirepass", "s3cret", (char *)NULL);
        _exit(127);
    }
    const char *warning;
    UNTIL(ms_queue_ping(queue, &warning, &err) == 0);
}

void kill_server(void) {
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    server = 0;
}

int start(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/msaas-queue-XXXXXX");
    assert_non_null(mkdtemp(folder));
    if (redis) {
        (void)snprintf(port, sizeof port, "%d", find_server_port());
        (void)snprintf(url, sizeof url, "redis://:s3cret@127.0.0.1:%s/3", port);
    } else {
        (void)snprintf(url, sizeof url, "sqlite:%s/queue.db", folder);
    }
    OK(ms_queue_open(url, &queue, &err));
    if (redis)
        start_server();
    return 0;
}

int stop(void **state) {
    char command[100];
    (void)state;
    ms_queue_close(queue);
    if (server > 0)
        kill_server();
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static int run_client(const char *command, const char *then) {
    char line[600];
    (void)snprintf(line, sizeof line,
                   "redis-cli -h 127.0.0.1 -p %s -a s3cret --no-auth-warning -n 3 %s %s", port,
                   command, then);
    return system(line);
}

void ask_server(const char *command) {
    assert_int_equal(run_client(command, ">/dev/null"), 0);
}

bool server_does(const char *command) {
    return run_client(command, "2>/dev/null | grep -q '^OK'") == 0;
}

void spoil(const char *id, int how) {
    char command[500], other[MS_JOB_ID_HEX];
    memset(other, 'a', sizeof other - 1);
    other[sizeof other - 1] = '\0';
    if (redis && how == 2) {
        (void)snprintf(command, sizeof command, "set msaas:job:%s garbage", id);
        ask_server(command);
    } else if (redis) {
        (void)snprintf(command, sizeof command,
                       how == 0 ? "hset msaas:job:%s doc garbage"
                                : "hset msaas:job:%s doc '{\"id\":\"%s\",\"state\":\"queued\"}'",
                       id, other);
        ask_server(command);
    } else {
        (void)snprintf(
            command, sizeof command,
            "python3 -c 'import sqlite3; db = sqlite3.connect(\"%s/queue.db\"); "
            "db.execute(\"UPDATE jobs SET doc = ? WHERE id = ?\", (\"%s\", \"%s\")); db.commit()'",
            folder, how == 1 ? "{}" : "garbage", id);
        assert_int_equal(system(command), 0);
    }
}

/* ---- jobs ---- */

void make_job(int number, struct ms_job *job) {
    struct ms_job_options options;
    char song[32];
    (void)snprintf(song, sizeof song, "song %d", number);
    ms_job_options_default("htdemucs", &options);
    OK(ms_job_init(job, song, strlen(song), &options, "htdemucs", &err));
}

void put(int number, char id[MS_JOB_ID_HEX]) {
    struct ms_job job;
    bool created;
    make_job(number, &job);
    OK(ms_queue_enqueue(queue, &job, &created, NULL, &err));
    assert_true(created);
    memcpy(id, job.id, MS_JOB_ID_HEX);
    ms_job_fini(&job);
}

enum ms_job_state state_of(const char *id) {
    struct ms_job job;
    OK(ms_queue_get(queue, id, &job, &err));
    const enum ms_job_state state = job.state;
    ms_job_fini(&job);
    return state;
}

void erase(const char *id) {
    bool gone;
    OK(ms_queue_erase(queue, id, NULL, &gone, NULL, &err));
    assert_true(gone);
    struct ms_job job;
    assert_int_equal(ms_queue_get(queue, id, &job, &err), MS_ENOTFOUND);
}

void reserve(struct ms_job *job, char token[MS_TOKEN_HEX], int64_t lease_ms) {
    OK(ms_queue_reserve(queue, "htdemucs", lease_ms, 2000, job, token, &err));
    assert_int_equal(job->state, MS_JOB_RUNNING);
}

void expect_none(void) {
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    assert_int_equal(ms_queue_reserve(queue, "htdemucs", LEASE_MS, 0, &job, token, &err),
                     MS_ENOTFOUND);
}

int change(enum ms_queue_change what, const struct ms_job *job, const char *token) {
    return ms_queue_change(queue, what, job, token, LEASE_MS, &err);
}

void add_stem(struct ms_job *job, const char *name) {
    struct ms_job_stem *stem = &job->stems[job->stem_count++];
    (void)snprintf(stem->name, sizeof stem->name, "%s", name);
    stem->bytes = 1234;
    memset(stem->sha256, 'a', 64);
}

int reap(int *lapsed) {
    struct ms_reaped reaped;
    const int rc = ms_queue_reap(queue, "htdemucs", 600000, &reaped, &err);
    *lapsed = reaped.lapsed;
    return rc;
}
