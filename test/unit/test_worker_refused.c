/* A worker whose servers refuse it, Redis in the middle of a job: it is not ready, the job is
 * finished when Redis takes it again, and it is not done a second time. */
#include "worker_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../tools/server_port.h"
#include "msaas/audio.h"

#define SHORT_SONG 20000

static int port;
static pid_t server;

static int ask_server(const char *command) {
    char line[300];
    (void)snprintf(line, sizeof line,
                   "redis-cli -h 127.0.0.1 -p %d -a s3cret --no-auth-warning %s >/dev/null 2>&1",
                   port, command);
    return system(line);
}

static bool serves(struct world *world) {
    (void)world;
    return ask_server("ping") == 0;
}

static void start_server(struct world *world) {
    char text[8];
    port = find_server_port();
    (void)snprintf(text, sizeof text, "%d", port);
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execlp("redis-server", "redis-server", "--port", text, "--bind", "127.0.0.1", "--dir",
                     world->root, "--save", "", "--logfile", "redis.log", "--requirepass", "s3cret",
                     (char *)NULL);
        _exit(127);
    }
    world_wait_until(world, serves, "Redis");
    assert_int_equal(ask_server("acl setuser worker on '>w0rk' '~*' '&*' +@all"), 0);
    (void)snprintf(world->queue_url, sizeof world->queue_url, "redis://worker:w0rk@127.0.0.1:%d",
                   port);
}

static int end(void **state) {
    const int rc = world_end(state);
    if (server > 0) { /* else kill() would reach others */
        (void)kill(server, SIGKILL);
        (void)waitpid(server, NULL, 0);
    }
    server = 0;
    return rc;
}

/* How Redis refuses, and what mends it. */
struct refusal {
    const char *begin, *end, *told;
};

static const struct refusal *refusal;
static atomic_bool refused;

static void refuse(void *context, int number) {
    (void)context;
    if (number == 2 && !atomic_exchange(&refused, true))
        (void)ask_server(refusal->begin);
}

static bool is_told(struct world *world) {
    char reason[MS_WORKER_REASON_BYTES];
    (void)world;
    ms_worker_why_unready(reason);
    return strstr(reason, refusal->told) != NULL;
}

static void finishes_the_job_when_it_may_again(void **state) {
    struct world *world = *state;
    struct ms_job job;
    refusal = world->prestate;
    atomic_store(&refused, false);
    start_server(world);
    world->model.on_forward = refuse;
    world_open(world);
    world_start(world);
    world_wait_until(world, world_is_ready, "the worker to be ready");
    world_submit(world, SHORT_SONG);
    world_wait_until(world, is_told, refusal->told);
    assert_int_equal(ask_server(refusal->end), 0);
    world_wait(world, MS_JOB_SUCCEEDED, &job);
    assert_int_equal(job.attempts, 1);
    assert_int_equal(job.failures, 0);
    ms_job_fini(&job);
    world_wait_until(world, world_is_ready, "the worker to be ready again");
}

/* Idle, and its connections are cut: the one that the server has room for is redis-cli's. */
static void is_unready_while_there_is_no_room(void **state) {
    struct world *world = *state;
    static const struct refusal full = {.told = "maxclients"};
    char line[200];
    refusal = &full;
    start_server(world);
    world_open(world);
    world_start(world);
    world_wait_until(world, world_is_ready, "the worker to be ready");
    (void)snprintf(line, sizeof line,
                   "exec redis-cli -h 127.0.0.1 -p %d -a s3cret --no-auth-warning >/dev/null",
                   port);
    FILE *cli = popen(line, "w");
    assert_non_null(cli);
    assert_true(fputs("config set maxclients 1\nclient kill type normal skipme yes\n", cli) >= 0);
    assert_int_equal(fflush(cli), 0);
    world_wait_until(world, is_told, refusal->told);
    assert_true(fputs("config set maxclients 1000\n", cli) >= 0);
    assert_int_equal(pclose(cli), 0);
    world_wait_until(world, world_is_ready, "the worker to be ready again");
}

static atomic_bool busy;

static void answer_ping(void *context, int fd, const struct loopback_request *request) {
    static const char yes[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const char no[] = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    (void)context;
    (void)request;
    const char *text = atomic_load(&busy) ? no : yes;
    loopback_send(fd, text, strlen(text));
}

/* Idle: no job needs the store. */
static void is_unready_while_the_store_fails(void **state) {
    struct world *world = *state;
    struct loopback s3 = {.answer = answer_ping};
    static const struct refusal store = {.told = "the store fails"};
    char endpoint[64];
    refusal = &store;
    atomic_store(&busy, false);
    world_open(world);
    loopback_start(&s3);
    (void)snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", s3.port);
    world->options.store = (struct ms_store_options){
        .url = "s3://", .endpoint = endpoint, .access_key = "a", .secret_key = "s"};
    world_start(world);
    world_wait_until(world, world_is_ready, "the worker to be ready");
    atomic_store(&busy, true);
    world_wait_until(world, is_told, refusal->told);
    atomic_store(&busy, false);
    world_wait_until(world, world_is_ready, "the worker to be ready again");
    assert_int_equal(world_stop(world), 0);
    loopback_stop(&s3);
}

#define REFUSED(name, test, ...)                                                                   \
    {                                                                                              \
        #test " " name, test, world_begin, end, &(struct refusal) {                                \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        REFUSED("NOREPLICAS", finishes_the_job_when_it_may_again,
                "config set min-replicas-to-write 1", "config set min-replicas-to-write 0",
                "NOREPLICAS"),
        REFUSED("NOPERM", finishes_the_job_when_it_may_again, "acl setuser worker -evalsha",
                "acl setuser worker +evalsha", "NOPERM"),
        REFUSED("WRONGPASS", finishes_the_job_when_it_may_again, "acl deluser worker",
                "acl setuser worker on '>w0rk' '~*' '&*' +@all", "WRONGPASS"),
        cmocka_unit_test_setup_teardown(is_unready_while_there_is_no_room, world_begin, end),
        cmocka_unit_test_setup_teardown(is_unready_while_the_store_fails, world_begin, world_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
