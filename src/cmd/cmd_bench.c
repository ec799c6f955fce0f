/* `msaas bench`: how fast this machine separates: the network on all lanes, then decoding and
 * encoding of one segment. Main thread, and one thread for each lane. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/audio.h"
#include "msaas/cmd.h"
#include "msaas/json.h"
#include "msaas/network.h"
#include "msaas/sys.h"

static const char usage[] =
    "Measures how fast this machine separates. All lanes run the network on noise, after\n"
    "one forward pass each to warm up; then MP3 is decoded and encoded.\n"
    "\n"
    "Usage: msaas bench [OPTIONS]\n"
    "\n"
    "Examples:\n"
    "  msaas bench\n"
    "  msaas bench --lanes 1 --segments 4 --json\n"
    "  msaas bench --device cuda --lanes 1 --batch 16 --segments 160\n"
    "\n"
    "Effective seconds per segment are wall time divided by segments, over all lanes. The\n"
    "speed is the audio between two segments' starts divided by that.\n";

struct bench {
    struct ms_network *network;
    const struct ms_model_info *info;
    int lanes, batch;
    int segments;         /* whole batches */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    int ready;    /* lanes warmed up */
    bool started; /* all lanes are warm, and the clock runs */
    int taken;    /* forward passes that were handed out to lanes */
    int done;
    int forwards;      /* segments / batch */
    double *forward_s; /* [forwards] */
    double stage_s[MS_STAGE_COUNT];
    struct ms_error err; /* of the first lane that failed */
};

static void lane_failed(struct bench *bench, const struct ms_error *err) {
    (void)pthread_mutex_lock(&bench->lock);
    if (bench->err.code == 0)
        bench->err = *err;
    (void)pthread_cond_broadcast(&bench->changed);
    (void)pthread_mutex_unlock(&bench->lock);
}

/* Whether there is another batch to run. */
static bool take_batch(struct bench *bench) {
    (void)pthread_mutex_lock(&bench->lock);
    bool more = bench->err.code == 0 && !atomic_load(ms_cmd_interrupted()) &&
                bench->taken < bench->forwards;
    bench->taken += more ? 1 : 0;
    (void)pthread_mutex_unlock(&bench->lock);
    return more;
}

static void wait_for_start(struct bench *bench) {
    (void)pthread_mutex_lock(&bench->lock);
    bench->ready++;
    (void)pthread_cond_broadcast(&bench->changed);
    while (!bench->started && bench->err.code == 0)
        (void)pthread_cond_wait(&bench->changed, &bench->lock);
    (void)pthread_mutex_unlock(&bench->lock);
}

static void record(struct bench *bench, double forward_s) {
    (void)pthread_mutex_lock(&bench->lock);
    bench->forward_s[bench->done++] = forward_s;
    (void)pthread_mutex_unlock(&bench->lock);
}

/* [count] values of white noise, as loud as a normalised song. */
static void fill_noise(float *values, size_t count) {
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / (float)(1 << 23) - 1.0f;
    }
}

static void *run_lane(void *argument) {
    struct bench *bench = argument;
    const size_t values =
        (size_t)bench->batch * MS_AUDIO_CHANNELS * (size_t)bench->info->segment_frames;
    struct ms_error err = {0};
    const struct ms_network_ops *ops = bench->network->ops;
    struct ms_session *session = NULL;
    double warm_up_s[MS_STAGE_COUNT] = {0}, stage_s[MS_STAGE_COUNT] = {0};
    float *mix = malloc(sizeof *mix * values);
    float *out = malloc(sizeof *out * values * (size_t)bench->info->stem_count);
    int rc = mix != NULL && out != NULL ? ops->session_new(bench->network, &session, &err)
                                        : ms_error_set(&err, MS_ENOMEM, "no memory for a lane");
    if (rc == 0) {
        fill_noise(mix, values);
        rc = ops->forward(session, 0, bench->batch, mix, out, warm_up_s, &err);
    }
    if (rc != 0)
        goto out;
    wait_for_start(bench);
    while (take_batch(bench)) {
        const double from = ms_monotonic_s();
        rc = ops->forward(session, 0, bench->batch, mix, out, stage_s, &err);
        if (rc != 0)
            goto out;
        record(bench, ms_monotonic_s() - from);
    }
    (void)pthread_mutex_lock(&bench->lock);
    for (int i = 0; i < MS_STAGE_COUNT; i++)
        bench->stage_s[i] += stage_s[i];
    (void)pthread_mutex_unlock(&bench->lock);
out:
    if (rc != 0)
        lane_failed(bench, &err);
    ops->session_free(session);
    free(mix);
    free(out);
    return NULL;
}

/* Runs all segments; *wall_s from the moment that every lane is warm. */
static int run_lanes(struct bench *bench, double *wall_s, struct ms_error *err) {
    pthread_t *threads = calloc((size_t)bench->lanes, sizeof *threads);
    if (threads == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for %d lanes", bench->lanes);
    int made = 0;
    while (made < bench->lanes && pthread_create(&threads[made], NULL, run_lane, bench) == 0)
        made++;
    if (made < bench->lanes) {
        (void)ms_error_set(err, MS_ENOMEM, "lane %d: cannot start a thread", made + 1);
        lane_failed(bench, err);
    }
    (void)pthread_mutex_lock(&bench->lock);
    while (bench->ready < bench->lanes && bench->err.code == 0)
        (void)pthread_cond_wait(&bench->changed, &bench->lock);
    bench->started = true;
    (void)pthread_cond_broadcast(&bench->changed);
    (void)pthread_mutex_unlock(&bench->lock);
    const double from = ms_monotonic_s();
    for (int i = 0; i < made; i++)
        (void)pthread_join(threads[i], NULL);
    *wall_s = ms_monotonic_s() - from;
    free(threads);
    if (bench->err.code == 0 && bench->done < bench->forwards)
        return ms_error_set(err, MS_ECANCELED, "interrupted");
    return bench->err.code != 0 ? ms_error_copy(err, &bench->err) : 0;
}

/* Seconds that one segment takes to be encoded as MP3, for one stem, and to be decoded again. */
static int time_codec(const struct ms_model_info *info, double *decode_s, double *encode_s,
                      struct ms_error *err) {
    const size_t frames = (size_t)info->segment_frames;
    const struct ms_encode_options options = {.format = MS_FORMAT_MP3};
    char folder[] = "/tmp/msaas-bench-XXXXXX";
    struct ms_encoder *encoder = NULL;
    struct ms_decoder *decoder = NULL;
    char *path = NULL;
    float *noise = malloc(sizeof *noise * 2 * frames);
    float *const planes[] = {noise, noise != NULL ? noise + frames : NULL};
    if (noise == NULL || mkdtemp(folder) == NULL) {
        free(noise);
        return ms_error_about(err, MS_EIO, folder, "cannot make a folder");
    }
    int rc = (path = ms_strdupf("%s/noise.mp3", folder)) != NULL
                 ? 0
                 : ms_error_set(err, MS_ENOMEM, "no memory for a name");
    fill_noise(noise, 2 * frames);
    double from = ms_monotonic_s();
    if (rc == 0)
        rc = ms_encoder_open(path, info->sample_rate_hz, &options, NULL, &encoder, err);
    if (rc == 0)
        rc = ms_encoder_write(encoder, (const float *const *)planes, frames, err);
    if (rc == 0)
        rc = ms_encoder_finish(encoder, err);
    if (rc == 0)
        rc = ms_encoder_publish(encoder, err);
    *encode_s = ms_monotonic_s() - from;
    from = ms_monotonic_s();
    if (rc == 0)
        rc = ms_decoder_open(path, info->sample_rate_hz, &decoder, err);
    for (size_t got = 1; rc == 0 && got > 0;)
        rc = ms_decoder_read(decoder, planes, frames, &got, err);
    *decode_s = ms_monotonic_s() - from;
    ms_decoder_free(decoder);
    ms_encoder_free(encoder);
    if (path != NULL)
        (void)unlink(path);
    (void)rmdir(folder);
    free(path);
    free(noise);
    return rc;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct figures {
    double effective_s, median_s, min_s, decode_s, encode_s, peak_rss_mb;
    char cpu[96];
};

static void print_json(const struct bench *bench, const struct figures *f) {
    struct ms_json_writer *w = ms_json_writer_new();
    if (w == NULL)
        return;
    ms_json_begin_object(w, NULL);
    ms_json_put_string(w, "model", bench->info->name);
    ms_json_put_double(w, "effective_seconds_per_segment", f->effective_s);
    ms_json_put_double(w, "median_seconds_per_forward", f->median_s);
    ms_json_put_double(w, "min_seconds_per_forward", f->min_s);
    ms_json_put_int(w, "lanes", bench->lanes);
    ms_json_put_int(w, "batch", bench->batch);
    ms_json_put_int(w, "segments", bench->segments);
    ms_json_put_double(w, "segment_seconds",
                       (double)bench->info->segment_frames / bench->info->sample_rate_hz);
    ms_json_put_string(w, "precision", ms_precision_name(bench->network->precision));
    ms_json_put_double(w, "peak_rss_mb", f->peak_rss_mb);
    ms_json_begin_object(w, "stages"); /* seconds for one segment on one thread */
    ms_json_put_double(w, "decode", f->decode_s);
    for (int i = 0; i < MS_STAGE_COUNT; i++)
        ms_json_put_double(w, ms_stage_names[i], bench->stage_s[i] / bench->segments);
    ms_json_put_double(w, "encode", f->encode_s);
    ms_json_end_object(w);
    ms_json_put_string(w, "cpu", f->cpu);
    ms_json_put_string(w, "libtorch", bench->network->libtorch);
    ms_json_end_object(w);
    const char *text = ms_json_writer_text(w, NULL);
    if (text != NULL)
        (void)puts(text);
    ms_json_writer_free(w);
}

static void print_plain(const struct bench *bench, const struct figures *f) {
    (void)printf("%s, %d segments of %.1f s on %d lane%s, batch %d, %s, libtorch %s\n%s\n\n",
                 bench->info->name, bench->segments,
                 (double)bench->info->segment_frames / bench->info->sample_rate_hz, bench->lanes,
                 bench->lanes == 1 ? "" : "s", bench->batch,
                 ms_precision_name(bench->network->precision), bench->network->libtorch, f->cpu);
    (void)printf("effective   %7.3f s per segment\nforward     %7.3f s median, %.3f s min\n"
                 "peak memory %7.0f MB\n\nseconds per segment on one thread:\n",
                 f->effective_s, f->median_s, f->min_s, f->peak_rss_mb);
    (void)printf("  %-12s %7.3f\n", "decode", f->decode_s);
    for (int i = 0; i < MS_STAGE_COUNT; i++)
        (void)printf("  %-12s %7.3f\n", ms_stage_names[i], bench->stage_s[i] / bench->segments);
    (void)printf("  %-12s %7.3f   (%d stems as MP3)\n", "encode", f->encode_s,
                 bench->info->stem_count);
}

static int measure(const struct ms_options *options, struct ms_error *err) {
    struct ms_network *network = NULL;
    struct figures figures = {0};
    double wall_s = 0.0;
    int rc = ms_cmd_open_network(options, &network, err);
    if (rc != 0)
        return rc;
    struct bench bench = {
        .network = network,
        .info = &network->info,
        .lanes = ms_cmd_lanes(options),
        .batch = ms_cmd_batch(options),
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    const int asked = (int)ms_options_int(options, MS_OPTION_SEGMENTS);
    bench.forwards = (asked + bench.batch - 1) / bench.batch;
    bench.segments = bench.forwards * bench.batch;
    bench.forward_s = calloc((size_t)bench.forwards, sizeof *bench.forward_s);
    if (bench.forward_s == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for %d segments", bench.segments);
        goto out;
    }
    (void)ms_cmd_interrupted();
    rc = run_lanes(&bench, &wall_s, err);
    if (rc != 0)
        goto out;
    qsort(bench.forward_s, (size_t)bench.forwards, sizeof *bench.forward_s, ascending);
    figures.effective_s = wall_s / bench.segments;
    figures.median_s = bench.forward_s[bench.forwards / 2];
    figures.min_s = bench.forward_s[0];
    rc = time_codec(bench.info, &figures.decode_s, &figures.encode_s, err);
    if (rc != 0)
        goto out;
    figures.encode_s *= bench.info->stem_count;
    struct ms_limits limits;
    ms_limits_read("", &limits);
    (void)snprintf(figures.cpu, sizeof figures.cpu, "%s", limits.cpu_name);
    figures.peak_rss_mb = (double)ms_peak_rss_bytes() / (1 << 20);
    if (ms_options_flag(options, MS_OPTION_JSON))
        print_json(&bench, &figures);
    else
        print_plain(&bench, &figures);
out:
    free(bench.forward_s);
    ms_network_free(network);
    return rc;
}

static int run_bench(const struct ms_call *call) {
    struct ms_options *options = NULL;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_cmd_begin(call, &options, &exit_code))
        return exit_code;
    if (ms_options_argument_count(options) > 0)
        (void)ms_error_set(&err, MS_EUSAGE, "bench takes no arguments, but was given \"%s\"",
                           ms_options_argument(options, 0));
    else
        (void)measure(options, &err);
    ms_options_free(options);
    return err.code == 0 ? MS_EXIT_OK : ms_cmd_failed(call->argv[0], &err);
}

static const enum ms_option_id option_ids[] = {
    MS_OPTION_MODEL,  MS_OPTION_MODELS_DIR, MS_OPTION_SEGMENTS, MS_OPTION_LANES, MS_OPTION_BATCH,
    MS_OPTION_DEVICE, MS_OPTION_PRECISION,  MS_OPTION_JSON,     MS_OPTION_COUNT};

const struct ms_command ms_cmd_bench = {
    .name = "bench",
    .summary = "measure how fast this machine separates",
    .usage = usage,
    .options = option_ids,
    .runs_networks = true,
    .run = run_bench,
};
