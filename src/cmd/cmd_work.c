/* `msaas work`: options -> the model -> the worker, until SIGTERM. The worker runs on the main
 * thread; a second one listens for /healthz and /metrics. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "listener.h"
#include "msaas/api.h"
#include "msaas/audio.h"
#include "msaas/cmd.h"
#include "msaas/engine.h"
#include "msaas/fault.h"
#include "msaas/log.h"
#include "msaas/model_cache.h"
#include "msaas/worker.h"
#include "service.h"

static const char usage[] =
    "Works on jobs, one at a time: takes a job from the queue, separates its song, stores\n"
    "the stems and delivers callbacks. Any number of these may share a queue and a store.\n"
    "\n"
    "Usage: msaas work [OPTIONS]\n"
    "\n"
    "Examples:\n"
    "  msaas work --queue redis://redis:6379/0 --store s3:// --s3-endpoint http://minio:9000\n"
    "      with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment\n"
    "  msaas work --model s3://models/htdemucs.json --cache /var/cache/msaas\n"
    "      downloads the model once\n"
    "  msaas work --queue sqlite:/srv/queue.db --store file:/srv/objects --lanes 4\n"
    "\n"
    "GET /healthz says that the process lives, /readyz that it takes jobs; /metrics is for\n"
    "Prometheus. When the queue cannot be reached it waits. When its disk, memory, device,\n"
    "model or store fails, it puts its job back and takes none for a while. After SIGTERM it\n"
    "finishes its job within --grace, or puts the job back into the queue.\n"
    "\n"
    "Exit code: 0 ended as asked; 1 could not run; 2 wrong usage; 69 something of its own has\n"
    "failed for --give-up; 70 a job was stuck.\n";

struct work {
    struct ms_service *service;
    char *cache, *scratch;
    char *path; /* of the model's JSON */
    struct ms_engine *engine;
    struct ms_logship *logship;
    struct ms_listener listener;
    bool unfit; /* see ms_worker_run */
};

static atomic_bool starting = true; /* downloading the model may take minutes */

static bool is_alive(void) {
    return atomic_load(&starting) || ms_worker_is_alive();
}

static void why_unready(char reason[MS_API_REASON_BYTES]) {
    _Static_assert(MS_API_REASON_BYTES >= MS_WORKER_REASON_BYTES, "a reason fits");
    ms_worker_why_unready(reason);
}

static int start_listener(struct ms_listener *listener, const struct ms_options *options,
                          struct ms_error *err) {
    struct ms_http_server_options listen = {
        .host = ms_service_host(options),
        .port = (int)ms_options_int(options, MS_OPTION_WORKER_PORT),
    };
    ms_api_serve_worker(&listen, is_alive, why_unready);
    int rc = ms_listener_start(listener, &listen, err);
    return rc == 0 ? 0 : ms_error_prefix(err, "--host, --port (MSAAS_HOST, MSAAS_WORKER_PORT)");
}

/* ---- model ---- */

static int open_model(struct work *work, int lanes, struct ms_error *err) {
    const struct ms_options *options = work->service->options;
    const char *word = ms_options_string(options, MS_OPTION_MODEL);
    struct ms_store_options store = work->service->store;
    store.cancel = ms_cmd_interrupted();
    int rc;
    if (ms_model_is_remote(word)) {
        rc = ms_service_make_place(options, MS_OPTION_CACHE, &work->cache, err);
        if (rc == 0)
            rc = ms_model_cache_get(word, &store, work->cache, &work->path, err);
    } else {
        rc = ms_cmd_locate_model(options, &work->path, err);
    }
    if (rc != 0)
        return rc;
    const struct ms_engine_options engine = {
        .path = work->path,
        .device = ms_options_string(options, MS_OPTION_DEVICE),
        .precision = ms_cmd_precision(options, MS_OPTION_WORK_PRECISION),
        .lanes = lanes,
        .batch = ms_cmd_batch(options),
        .open = ms_network_open,
    };
    rc = ms_engine_new(&engine, &work->engine, err);
    return rc == 0 ? 0 : ms_cmd_name_device(options, err);
}

static int run_worker(struct work *work, int lanes, struct ms_error *err) {
    const struct ms_options *options = work->service->options;
    const struct ms_worker_options worker = {
        .queue_url = work->service->queue_url,
        .store = work->service->store,
        .engine = work->engine,
        .scratch_dir = work->scratch,
        .lease_ms = (int64_t)(ms_options_double(options, MS_OPTION_LEASE) * 1000),
        .model_wait_ms = (int64_t)(ms_options_double(options, MS_OPTION_MODEL_WAIT) * 60000),
        .stall_s = ms_options_double(options, MS_OPTION_STALL),
        .upload_keep_s = (int64_t)(ms_options_double(options, MS_OPTION_UPLOAD_KEEP) * 3600),
        .preview_s = (double)ms_options_int(options, MS_OPTION_PREVIEW),
        .max_cost = ms_options_double(options, MS_OPTION_MAX_COST),
        .max_song_s = ms_options_double(options, MS_OPTION_MAX_SONG_MINUTES) * 60,
        .give_up_ms = (int64_t)(ms_options_double(options, MS_OPTION_GIVE_UP) * 60000),
        .keep_ms = (int64_t)(ms_options_time_s(options, MS_OPTION_KEEP) * 1000),
        .grace_ms = (int64_t)(ms_options_double(options, MS_OPTION_GRACE) * 1000),
        .webhook_secret = ms_options_string(options, MS_OPTION_WEBHOOK_SECRET),
        .callback_allow = ms_options_string(options, MS_OPTION_CALLBACK_ALLOW),
        .stop = ms_cmd_interrupted(),
    };
    ms_log(MS_LOG_INFO, "working with model %s in %s on %d lane%s, batch %d",
           ms_engine_info(work->engine)->name,
           ms_precision_name(ms_engine_network(work->engine)->precision), lanes,
           lanes == 1 ? "" : "s", ms_cmd_batch(work->service->options));
    char missing[MS_DECODER_WALLS_BYTES];
    int rc = ms_decoder_probe(missing, err);
    if (rc != 0)
        return rc;
    if (missing[0] != '\0')
        ms_log(MS_LOG_WARN, "songs are decoded without: %s; this kernel does not allow it",
               missing);
    atomic_store(&starting, false);
    ms_fault_choose_by_environment();
    ms_service_tell_ready();
    return ms_worker_run(&worker, &work->unfit, err);
}

static int run(struct work *work, struct ms_error *err) {
    const struct ms_options *options = work->service->options;
    int lanes = ms_cmd_lanes(options);
    int rc = ms_service_make_place(options, MS_OPTION_SCRATCH, &work->scratch, err);
    if (rc == 0)
        rc = start_listener(&work->listener, options, err);
    if (rc == 0)
        ms_service_ship_log(work->service, &work->logship);
    if (rc == 0)
        rc = open_model(work, lanes, err);
    if (rc == 0)
        rc = run_worker(work, lanes, err);
    return rc;
}

static int run_work(const struct ms_call *call) {
    struct ms_service service;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_service_begin(&service, call, "worker", &exit_code))
        return exit_code;
    struct work work = {.service = &service};
    int rc = run(&work, &err);
    ms_listener_stop(&work.listener);
    ms_engine_free(work.engine);
    ms_service_unship_log(work.logship);
    free(work.path);
    free(work.cache);
    free(work.scratch);
    exit_code = ms_service_end(&service, rc, &err);
    return work.unfit ? MS_WORKER_UNFIT : exit_code;
}

static const enum ms_option_id option_ids[] = {MS_OPTION_MODEL,
                                               MS_OPTION_MODELS_DIR,
                                               MS_OPTION_QUEUE,
                                               MS_SERVICE_STORE_OPTIONS,
                                               MS_OPTION_HOST,
                                               MS_OPTION_WORKER_PORT,
                                               MS_OPTION_MAX_SONG_MINUTES,
                                               MS_OPTION_PREVIEW,
                                               MS_OPTION_UPLOAD_KEEP,
                                               MS_OPTION_MAX_COST,
                                               MS_OPTION_LEASE,
                                               MS_OPTION_STALL,
                                               MS_OPTION_MODEL_WAIT,
                                               MS_OPTION_GIVE_UP,
                                               MS_OPTION_KEEP,
                                               MS_OPTION_GRACE,
                                               MS_OPTION_SCRATCH,
                                               MS_OPTION_CACHE,
                                               MS_OPTION_WEBHOOK_SECRET,
                                               MS_OPTION_CALLBACK_ALLOW,
                                               MS_OPTION_LOG_FORMAT,
                                               MS_OPTION_LOG_LEVEL,
                                               MS_OPTION_LANES,
                                               MS_OPTION_BATCH,
                                               MS_OPTION_DEVICE,
                                               MS_OPTION_WORK_PRECISION,
                                               MS_OPTION_COUNT};

const struct ms_command ms_cmd_work = {
    .name = "work",
    .summary = "separate the songs of queued jobs",
    .usage = usage,
    .options = option_ids,
    .runs_networks = true,
    .run = run_work,
};
