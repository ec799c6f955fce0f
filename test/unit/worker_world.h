/* All that a worker lives among, in a temporary folder: an sqlite: queue, a file: store, a stand-in
 * network, a receiver of callbacks. The worker runs on a thread, or in a process of its own where a
 * test stops or kills it. */
#ifndef MSAAS_TEST_WORKER_WORLD_H
#define MSAAS_TEST_WORKER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/types.h>

#include "fake_network.h"
#include "loopback.h"
#include "msaas/queue.h"
#include "msaas/worker.h"

#define WORLD_RATE_HZ 44100
#define WORLD_SEGMENT 4096
/* Longer than any test waits: nothing lapses because a machine is slow. */
#define WORLD_LEASE_MS 3600000
#define WORLD_STALL_S 3600
#define WORLD_MODEL_SHA256 "97ff8a35544dcf40ad84047074439dd6aa3a0be469ea578a1b1c017d939ec61c"

struct world {
    const void *prestate; /* of the test: NULL for most */
    char root[64];
    char queue_url[128], store_url[128], scratch[128];
    struct ms_queue *queue; /* the test's own connections */
    struct ms_store *store;
    struct fake_network model;
    char model_path[128];
    struct ms_engine_options engine;
    enum ms_precision precision; /* of the jobs that are submitted */
    int failures;                /* so often they were given back before */
    atomic_bool stop;
    struct ms_worker_options options;
    pthread_t thread;
    bool running;
    pid_t child; /* 0: none */
    int result;  /* of ms_worker_run */
    bool unfit;
    struct loopback receiver;
    /* received; received before the job had ended; requests to a store that refuses all */
    atomic_int callbacks, early, refusals;
    char callback_body[MS_JOB_ID_HEX];
    struct ms_queue *receiver_queue;
    char job_id[MS_JOB_ID_HEX];
};

/* Before and after each test, also one that fails: *state is its world. The end stops whatever runs
 * and checks that the workers' folder is empty. Nothing is opened before world_open, so that a test
 * may fork first. */
int world_begin(void **state);
int world_end(void **state);
void world_open(struct world *world);

void world_start(struct world *world);
int world_stop(struct world *world); /* what ms_worker_run returned */
/* The same in a child, whose standard error goes to the file `log` in root. */
pid_t world_fork(struct world *world, const char *fault);
int world_join(struct world *world); /* waits for the child's end: its status */

/* A WAV of that many frames goes into the store as the job's song; a callback of version 1 goes to
 * the receiver. */
void world_submit(struct world *world, int64_t frames);
void world_submit_bytes(struct world *world, const void *bytes, size_t size, const char *model);

/* Waits for the job to be in that state. */
void world_wait(struct world *world, enum ms_job_state state, struct ms_job *out);
void world_wait_until(struct world *world, bool (*holds)(struct world *world), const char *what);
bool world_has_stem(struct world *world, const char *stem);
bool world_has_song(struct world *world);
bool world_log_says(struct world *world, const char *text);
bool world_was_called_back(struct world *world);
bool world_is_ready(struct world *world);

#endif
