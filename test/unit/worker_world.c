/* See worker_world.h. */
#include "worker_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "msaas/fault.h"
#include "msaas/log.h"
#include "msaas/sys.h"

#define DEADLINE_S 300.0 /* of every wait: far beyond what a loaded machine takes */

static void answer(void *context, int fd, const struct loopback_request *request) {
    static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    struct world *world = context;
    struct ms_job job;
    /* The body is the job's id, as a JSON string. */
    (void)sscanf(request->body, "\"%56[0-9a-f]\"", world->callback_body);
    if (ms_queue_get(world->receiver_queue, world->callback_body, &job, NULL) == 0) {
        if (!ms_job_state_is_final(job.state))
            atomic_fetch_add(&world->early, 1);
        ms_job_fini(&job);
    }
    atomic_fetch_add(&world->callbacks, 1);
    loopback_send(fd, fine, sizeof fine - 1);
}

/* The stand-in needs no file, but the engine looks whether it is still the same one. */
static void write_model(struct world *world) {
    snprintf(world->model_path, sizeof world->model_path, "%s/fake.json", world->root);
    FILE *file = fopen(world->model_path, "w");
    assert_non_null(file);
    assert_true(fputs("a model", file) >= 0);
    assert_int_equal(fclose(file), 0);
}

int world_begin(void **state) {
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->prestate = *state;
    *state = world;
    ms_log_init("worker", MS_LOG_ERROR + 1, false);
    strcpy(world->root, "/tmp/msaas-worker-XXXXXX");
    assert_non_null(mkdtemp(world->root));
    snprintf(world->queue_url, sizeof world->queue_url, "sqlite:%s/queue.db", world->root);
    snprintf(world->store_url, sizeof world->store_url, "file:%s/objects", world->root);
    snprintf(world->scratch, sizeof world->scratch, "%s/scratch", world->root);
    fake_init(&world->model, WORLD_RATE_HZ, WORLD_SEGMENT, 2);
    world->model.plain = true;
    fake_on_disk = &world->model;
    write_model(world);
    world->engine = (struct ms_engine_options){
        .path = world->model_path, .device = "cpu", .lanes = 1, .batch = 1, .open = fake_open};
    world->options = (struct ms_worker_options){
        .queue_url = world->queue_url,
        .store = {.url = world->store_url, .create_buckets = true},
        .scratch_dir = world->scratch,
        .lease_ms = WORLD_LEASE_MS,
        .callback_allow = "127.0.0.1",
        .model_wait_ms = 600000,
        .stall_s = WORLD_STALL_S,
        .give_up_ms = 3600000,
        .grace_ms = 3600000,
        .stop = &world->stop,
    };
    return 0;
}

void world_open(struct world *world) {
    struct ms_error err = {0};
    if (ms_queue_open(world->queue_url, &world->queue, &err) != 0 ||
        ms_queue_open(world->queue_url, &world->receiver_queue, &err) != 0 ||
        ms_store_open(&world->options.store, &world->store, &err) != 0)
        fail_msg("%s", err.text);
    world->receiver.answer = answer;
    world->receiver.context = world;
    loopback_start(&world->receiver);
}

int world_end(void **state) {
    struct world *world = *state;
    const bool stopped_well = !world->running || world_stop(world) == 0;
    if (world->child > 0) {
        (void)kill(world->child, SIGKILL);
        (void)world_join(world);
    }
    if (world->receiver.port != 0)
        loopback_stop(&world->receiver);
    ms_queue_close(world->queue);
    ms_queue_close(world->receiver_queue);
    ms_store_close(world->store);
    DIR *dir = opendir(world->scratch);
    int entries = 0;
    while (dir != NULL && readdir(dir) != NULL)
        entries++;
    if (dir != NULL)
        closedir(dir);
    const int early = atomic_load(&world->early);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", world->root);
    const int left = system(command);
    free(world);
    assert_true(stopped_well);
    assert_int_equal(left, 0);
    assert_int_equal(early, 0);
    assert_in_range(entries, 0, 2); /* "." and ".." */
    return 0;
}

static void *run(void *user) {
    struct world *world = user;
    struct ms_error err = {0};
    world->result = ms_engine_new(&world->engine, &world->options.engine, &err);
    if (world->result == 0)
        world->result = ms_worker_run(&world->options, &world->unfit, &err);
    ms_engine_free(world->options.engine);
    if (world->result != 0 && !world->unfit)
        fprintf(stderr, "worker: %s\n", err.text);
    return NULL;
}

void world_start(struct world *world) {
    atomic_store(&world->stop, false);
    assert_int_equal(pthread_create(&world->thread, NULL, run, world), 0);
    world->running = true;
}

int world_stop(struct world *world) {
    atomic_store(&world->stop, true);
    assert_int_equal(pthread_join(world->thread, NULL), 0);
    world->running = false;
    return world->result;
}

pid_t world_fork(struct world *world, const char *fault) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child > 0) {
        world->child = child;
        return child;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) /* a test that fails leaves nobody behind */
        _exit(3);
    char path[128];
    snprintf(path, sizeof path, "%s/log", world->root);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(3);
    ms_log_init("worker", MS_LOG_INFO, false);
    ms_fault_choose(fault);
    (void)run(world);
    _exit(world->result == 0 ? 0 : 1);
}

int world_join(struct world *world) {
    int status = 0;
    assert_int_equal(waitpid(world->child, &status, 0), world->child);
    world->child = 0;
    return status;
}

/* ---- jobs ---- */

void world_submit_bytes(struct world *world, const void *bytes, size_t size, const char *model) {
    struct ms_object_source source = {.bytes = bytes, .size = (int64_t)size};
    struct ms_job_options options;
    ms_job_options_default(model, &options);
    options.precision = world->precision;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/done", world->receiver.port);
    struct ms_error err = {0};
    struct ms_job job;
    if (ms_job_init(&job, bytes, size, &options, "fake", &err) != 0)
        fail_msg("%s", err.text);
    job.callback_count = 1;
    job.callbacks[0].version = 1;
    job.callbacks[0].url = strdup(url);
    job.callbacks[0].data = ms_strdupf("\"%s\"", job.id);
    job.input_bytes = (int64_t)size;
    job.failures = world->failures;
    strcpy(world->job_id, job.id);
    bool created = false;
    if (ms_store_put(world->store, MS_BUCKET_SONGS, job.id, &source, NULL, &err) != 0 ||
        ms_queue_enqueue(world->queue, &job, &created, NULL, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(created);
    ms_job_fini(&job);
}

static void put_u32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

void world_submit(struct world *world, int64_t frames) {
    const uint32_t data = (uint32_t)frames * 4;
    uint8_t *wav = calloc(1, 44 + data);
    assert_non_null(wav);
    memcpy(wav, "RIFF", 4);
    put_u32(wav + 4, 36 + data);
    memcpy(wav + 8, "WAVEfmt ", 8);
    put_u32(wav + 16, 16);
    put_u32(wav + 20, 1 | 2u << 16); /* PCM, two channels */
    put_u32(wav + 24, WORLD_RATE_HZ);
    put_u32(wav + 28, WORLD_RATE_HZ * 4);
    put_u32(wav + 32, 4 | 16u << 16);
    memcpy(wav + 36, "data", 4);
    put_u32(wav + 40, data);
    for (int64_t i = 0; i < 2 * frames; i++) {
        const int sample = (int)(8000 * sin((double)i * 0.05));
        wav[44 + 2 * i] = (uint8_t)sample;
        wav[45 + 2 * i] = (uint8_t)((unsigned)sample >> 8);
    }
    world_submit_bytes(world, wav, 44 + data, "fake");
    free(wav);
}

void world_wait_until(struct world *world, bool (*holds)(struct world *world), const char *what) {
    const double until_s = ms_monotonic_s() + DEADLINE_S;
    const struct timespec nap = {.tv_nsec = 10000000};
    while (!holds(world)) {
        if (ms_monotonic_s() > until_s)
            fail_msg("waited in vain for: %s", what);
        (void)nanosleep(&nap, NULL);
    }
}

void world_wait(struct world *world, enum ms_job_state state, struct ms_job *out) {
    const double until_s = ms_monotonic_s() + DEADLINE_S;
    const struct timespec nap = {.tv_nsec = 10000000};
    struct ms_error err = {0};
    for (;;) {
        if (ms_queue_get(world->queue, world->job_id, out, &err) != 0)
            fail_msg("%s", err.text);
        if (out->state == state)
            return;
        if (ms_job_state_is_final(out->state) || ms_monotonic_s() > until_s)
            fail_msg("the job is %s, not %s: %s %s", ms_job_state_name(out->state),
                     ms_job_state_name(state), out->error_code, out->error_message);
        ms_job_fini(out);
        (void)nanosleep(&nap, NULL);
    }
}

bool world_has_stem(struct world *world, const char *stem) {
    char key[MS_JOB_KEY_MAX];
    snprintf(key, sizeof key, "%s-%s.mp3", world->job_id, stem);
    struct ms_object_info info;
    return ms_store_head(world->store, MS_BUCKET_STEMS, key, &info, NULL) == 0;
}

bool world_has_song(struct world *world) {
    struct ms_object_info info;
    return ms_store_head(world->store, MS_BUCKET_SONGS, world->job_id, &info, NULL) == 0;
}

bool world_log_says(struct world *world, const char *text) {
    static char log[1 << 16];
    char path[128];
    snprintf(path, sizeof path, "%s/log", world->root);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    size_t size = fread(log, 1, sizeof log - 1, file);
    fclose(file);
    log[size] = '\0';
    return strstr(log, text) != NULL;
}

bool world_was_called_back(struct world *world) {
    return atomic_load(&world->callbacks) > 0;
}

bool world_is_ready(struct world *world) {
    char reason[MS_WORKER_REASON_BYTES];
    (void)world;
    ms_worker_why_unready(reason);
    return reason[0] == '\0';
}
