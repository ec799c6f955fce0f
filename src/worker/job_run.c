/* One job: song from the store -> decode, separate, encode (pipeline.c) -> stems into the store, in
 * the format that was asked for and without loss.
 * Owns the files in the worker's folder. Worker's thread. What happens to the job afterwards,
 * worker.c decides from the code. */
#include "job_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "msaas/digest.h"
#include "msaas/fault.h"
#include "msaas/log.h"
#include "msaas/network.h"
#include "msaas/pipeline.h"
#include "msaas/sys.h"

#define MAX_SONG_BYTES (INT64_C(8) << 30)
/* Progress, from 0 to 1, at which the separation begins and ends. Before it come fetching and
 * decoding, after it encoding and uploading. */
#define FETCHED 0.01
#define SEPARATE_FROM 0.02
#define SEPARATE_TO 0.95
/* The slowest pace at which a step without progress of its own still counts as moving. */
#define DECODE_BYTES_PER_S 100e3
#define DECODE_SPEED 20 /* seconds of music decoded in a second */
#define TRANSFER_BYTES_PER_S 100e3
#define MODEL_S 90 /* from a slow disk */
/* Before the names of the files that are kept; no label of a stem begins so. */
#define KEPT "kept."

struct run {
    const struct ms_job_work *work;
    const struct ms_model_info *model;
    struct ms_job *job;
    struct ms_job_outcome *outcome;
    struct ms_pipeline_options options;
    struct ms_pipeline_output outputs[MS_PIPELINE_MAX_OUTPUTS];
    struct ms_peaks peaks[MS_PIPELINE_MAX_OUTPUTS];
    int output_count;
    double separate_begin_s; /* when the first segment began; 0: not yet */
    char told[300];          /* what clients are told of an error that names paths; "": the error */
};

/* ---- options ---- */

static int choose_stems(const struct ms_job_options *from, const struct ms_model_info *model,
                        struct ms_pipeline_options *to, struct ms_error *err) {
    to->two_stems = -1;
    int rc = 0;
    if (from->two_stems[0] != '\0') {
        rc = to->two_stems = ms_stem_find(model->stems, model->stem_count, from->two_stems,
                                          strlen(from->two_stems), err);
        return rc < 0 ? rc : 0;
    }
    for (int i = 0; from->stem_count == 0 && i < model->stem_count; i++)
        to->stems[i] = true;
    for (int i = 0; i < from->stem_count; i++) {
        rc = ms_stem_find(model->stems, model->stem_count, from->stems[i], strlen(from->stems[i]),
                          err);
        if (rc < 0)
            return rc;
        to->stems[rc] = true;
    }
    return 0;
}

static int map_options(const struct ms_job_options *from, const struct ms_model_info *model,
                       struct ms_pipeline_options *to, struct ms_error *err) {
    int rc = ms_job_options_check(from, err);
    *to = (struct ms_pipeline_options){
        .separate = {.overlap = from->overlap,
                     .shifts = (int)from->shifts,
                     .seed = (uint64_t)from->seed},
        .encode = {.sample_type = MS_SAMPLE_INT16, .bitrate_kbps = (int)from->bitrate_kbps},
        .clip = strcmp(from->clip, "clamp") == 0  ? MS_CLIP_CLAMP
                : strcmp(from->clip, "none") == 0 ? MS_CLIP_NONE
                                                  : MS_CLIP_RESCALE,
        .other_method = MS_OTHER_ADD,
    };
    if (rc == 0)
        rc = ms_audio_format_parse(from->format, &to->encode.format, err);
    if (rc == 0 && from->model[0] != '\0' && strcmp(from->model, model->name) != 0)
        rc = ms_error_set(err, MS_EMODEL, "the job asks for model %s; this worker serves %s",
                          from->model, model->name);
    return rc == 0 ? choose_stems(from, model, to, err) : rc;
}

/* ---- whose fault ---- */

/* Whether the fault lies with this machine or with what it has: its disk, memory, device, model,
 * network. Another one may succeed with the same song. It and of_store alone decide it. */
static bool is_of_machine(int code) {
    return ms_code_is_transient(code) || code == MS_EMODEL || code == MS_EDENIED ||
           code == MS_EUNSUPPORTED;
}

/* ---- the steps ---- */

static bool is_about_folder(const struct ms_job_work *work, const struct ms_error *err) {
    return strncmp(err->subject, work->folder, strlen(work->folder)) == 0;
}

/* Notes whether the store failed; what is about our folder is none of its faults. */
static int of_store(struct run *run, int rc, const struct ms_error *err) {
    if (rc != 0 && is_about_folder(run->work, err))
        return rc;
    run->outcome->unwell |= ms_outage_note(run->work->store_outage, rc, err);
    return rc;
}

/* The song under the first of its names that the store has. A name that another program gave may be
 * none. */
static int fetch(struct run *run, const char *path, struct ms_error *err) {
    const struct ms_job *job = run->job;
    char key[MS_JOB_SONG_KEY_BYTES];
    int rc = MS_ENOTFOUND;
    for (int name = 0; rc == MS_ENOTFOUND && name < MS_JOB_SONG_NAMES; name++) {
        if (!ms_job_song_key(job, (enum ms_job_song_name)name, key))
            continue;
        run->work->moved(run->work->context, (double)job->input_bytes / TRANSFER_BYTES_PER_S);
        rc = ms_store_fetch(run->work->store, MS_BUCKET_SONGS, key, path, MAX_SONG_BYTES, err);
        if (rc == MS_EUSAGE && name == MS_JOB_SONG_NAMED)
            rc = MS_ENOTFOUND;
    }
    rc = of_store(run, rc, err);
    if (rc == MS_ENOTFOUND)
        rc = ms_error_set(err, rc, "the song is no longer in the store; send it again");
    if (rc == MS_ECONFLICT) /* somebody sent the same song again */
        rc = ms_error_set(err, MS_ENET, "the song was replaced while it was fetched");
    return rc;
}

/* Sets it in the job too: every renewal of the lease reports progress, whichever thread sends
 * it. */
static void tell_progress(struct run *run, double progress, double eta_s) {
    run->job->progress = progress;
    run->job->eta_seconds = eta_s;
    ms_lease_progress(run->work->lease, progress, eta_s, run->job->audio_seconds);
}

/* The job has come so far: whoever asks, and whoever takes the job up after a crash, sees it. */
static int reach(struct run *run, double progress, struct ms_error *err) {
    tell_progress(run, progress, -1);
    return run->work->confirm(run->work->context, err);
}

/* The song's length is known now. */
static int admit(void *context, int64_t frames, struct ms_error *err) {
    struct run *run = context;
    run->job->audio_seconds = (double)frames / run->model->sample_rate_hz;
    run->job->networks = run->model->member_count;
    int rc = reach(run, SEPARATE_FROM, err);
    if (rc == 0)
        rc = ms_job_check_cost(run->job, run->work->max_cost, err);
    if (rc == 0)
        ms_preview_begin(run->work->preview, run->job, run->outputs, run->output_count,
                         run->model->sample_rate_hz, frames);
    return rc;
}

static void on_block(void *context, int output, const float *const planes[MS_AUDIO_CHANNELS],
                     size_t frames) {
    const struct run *run = context;
    ms_preview_hear(run->work->preview, output, planes, frames);
}

static void on_progress(void *context, const struct ms_separate_progress *progress) {
    struct run *run = context;
    const double rate_hz = run->model->sample_rate_hz;
    const double now_s = ms_monotonic_s();
    const double done = (double)progress->segments_done, total = (double)progress->segments_total;
    if (run->separate_begin_s <= 0)
        run->separate_begin_s = now_s;
    run->job->audio_seconds = (double)progress->frames_total / rate_hz;
    double eta_s = -1;
    if (done > 0)
        eta_s = (now_s - run->separate_begin_s) * (total - done) / done;
    /* After the last segment comes encoding, which takes less than the song's own length. */
    run->work->moved(run->work->context, done < total ? 0 : run->job->audio_seconds);
    tell_progress(
        run, SEPARATE_FROM + (SEPARATE_TO - SEPARATE_FROM) * (total > 0 ? done / total : 1), eta_s);
    if (done > 0)
        ms_fault_point("mid-inference");
}

/* Loads the model in the precision that the job asks for. */
static int load(struct run *run, struct ms_error *err) {
    const struct ms_job *job = run->job;
    const struct ms_job_work *work = run->work;
    work->moved(work->context, MODEL_S);
    const int rc = ms_engine_use(work->engine, job->options.precision, err);
    if (rc == 0)
        return 0;
    (void)snprintf(run->told, sizeof run->told,
                   "model %s cannot be loaded in precision %s; the worker's log says why",
                   run->model->name, ms_precision_name(job->options.precision));
    return err->code = rc == MS_ENOTFOUND ? MS_EMODEL : rc;
}

static int separate(struct run *run, const char *song, struct ms_error *err) {
    const struct ms_job_work *work = run->work;
    const struct ms_separate_hooks hooks = {
        .context = run, .progress = on_progress, .cancel = ms_lease_halt(work->lease)};
    for (int i = 0; i < run->output_count; i++) {
        run->outputs[i].path = ms_strdupf("%s/%s.%s", work->folder, run->outputs[i].label,
                                          ms_audio_format_extension(run->options.encode.format));
        run->outputs[i].kept_path =
            ms_strdupf("%s/" KEPT "%s.flac", work->folder, run->outputs[i].label);
        if (run->outputs[i].path == NULL || run->outputs[i].kept_path == NULL)
            return ms_error_set(err, MS_ENOMEM, "no memory for a path");
    }
    double decode_s = (double)run->job->input_bytes / DECODE_BYTES_PER_S;
    if (work->max_song_s > 0 && decode_s > work->max_song_s / DECODE_SPEED)
        decode_s = work->max_song_s / DECODE_SPEED;
    work->moved(work->context, decode_s);
    run->options.max_seconds = work->max_song_s;
    run->options.admit = admit;
    run->options.admit_context = run;
    run->options.on_block = on_block;
    run->options.on_block_context = run;
    run->options.peaks = run->peaks;
    struct ms_pipeline_stats stats = {0};
    const int rc =
        ms_pipeline_run(ms_engine_separator(work->engine), run->model, song, &run->options,
                        run->outputs, run->output_count, work->folder, &hooks, &stats, err);
    if (rc == 0)
        run->job->audio_seconds = (double)stats.frames / run->model->sample_rate_hz;
    for (int i = 0; i < run->output_count; i++)
        run->job->stems[i].kept_gain = stats.gains[i];
    run->job->receipt.damaged = stats.damaged;
    return rc;
}

static int put(struct run *run, const char *key, const struct ms_object_source *source,
               int64_t bytes, struct ms_error *err) {
    const struct ms_job_work *work = run->work;
    int rc = work->confirm(work->context, err);
    if (rc != 0)
        return rc;
    work->moved(work->context, (double)bytes / TRANSFER_BYTES_PER_S);
    rc = of_store(run, ms_store_put(work->store, MS_BUCKET_STEMS, key, source, NULL, err), err);
    run->outcome->unwell |= rc == MS_ENOTFOUND; /* the bucket */
    return rc;
}

static int upload_file(struct run *run, const char *path, const char *key, const char *mime,
                       int64_t *bytes, char sha256[MS_SHA256_HEX], struct ms_error *err) {
    const struct ms_object_source source = {.path = path, .content_type = mime, .sha256 = sha256};
    int rc = ms_sha256_of_file(path, sha256, err);
    if (rc != 0)
        return rc;
    struct stat status;
    if (stat(path, &status) != 0)
        return ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
    *bytes = (int64_t)status.st_size;
    return put(run, key, &source, *bytes, err);
}

static int upload(struct run *run, int number, struct ms_error *err) {
    const struct ms_pipeline_output *output = &run->outputs[number];
    struct ms_job *job = run->job;
    struct ms_job_stem *stem = &job->stems[number];
    char key[MS_JOB_KEY_MAX];
    (void)snprintf(stem->name, sizeof stem->name, "%s", output->label);
    ms_job_stem_key(job, stem->name, key);
    int rc = upload_file(run, output->path, key, ms_job_mime(job->options.format), &stem->bytes,
                         stem->sha256, err);
    ms_job_kept_key(job, stem->name, key);
    if (rc == 0)
        rc = upload_file(run, output->kept_path, key, ms_job_mime("flac"), &stem->kept_bytes,
                         stem->kept_sha256, err);
    return rc;
}

static int upload_peaks(struct run *run, struct ms_error *err) {
    const char *names[MS_PIPELINE_MAX_OUTPUTS];
    double gains[MS_PIPELINE_MAX_OUTPUTS];
    char key[MS_JOB_KEY_MAX], *text = NULL;
    for (int i = 0; i < run->output_count; i++) {
        names[i] = run->job->stems[i].name;
        gains[i] = run->job->stems[i].kept_gain;
    }
    ms_job_peaks_key(run->job, key);
    int rc = ms_peaks_to_json(run->peaks, names, gains, run->output_count,
                              run->model->sample_rate_hz, &text, err);
    if (rc == 0) {
        const int64_t size = (int64_t)strlen(text);
        const struct ms_object_source source = {
            .bytes = text, .size = size, .content_type = "application/json"};
        rc = put(run, key, &source, size, err);
    }
    free(text);
    return rc;
}

static int upload_all(struct run *run, struct ms_error *err) {
    int rc = 0;
    for (int i = 0; rc == 0 && i < run->output_count; i++) {
        if (i == 1)
            ms_fault_point("between-uploads");
        tell_progress(run, SEPARATE_TO + (1 - SEPARATE_TO) * (i + 1) / (run->output_count + 2), 0);
        run->outcome->uploads = true;
        rc = upload(run, i, err);
        run->job->stem_count += rc == 0;
    }
    return rc == 0 ? upload_peaks(run, err) : rc;
}

/* Our folder is none of the clients' business. */
static void tell_clients(const struct run *run, const struct ms_error *err) {
    struct ms_job *job = run->job;
    const size_t length = strlen(run->work->folder);
    struct ms_error shown = *err;
    if (is_about_folder(run->work, err))
        ms_error_rename(&shown, err->subject + length + (err->subject[length] == '/'));
    (void)snprintf(job->error_code, sizeof job->error_code, "%s", ms_code_name(err->code));
    (void)snprintf(job->error_message, sizeof job->error_message, "%.*s",
                   (int)sizeof job->error_message - 1,
                   run->told[0] != '\0' ? run->told : shown.text);
}

static void write_receipt(const struct ms_job_work *work, double seconds,
                          struct ms_job_receipt *receipt) {
    (void)snprintf(receipt->made_by, sizeof receipt->made_by,
                   "msaas " MSAAS_VERSION ", libtorch %s",
                   ms_engine_network(work->engine)->libtorch);
    (void)snprintf(receipt->model_sha256, sizeof receipt->model_sha256, "%s",
                   ms_engine_sha256(work->engine));
    receipt->precision = ms_engine_network(work->engine)->precision;
    receipt->seconds = seconds;
}

int ms_job_run(const struct ms_job_work *work, struct ms_job *job, struct ms_job_outcome *outcome,
               struct ms_error *err) {
    const double begin_s = ms_monotonic_s();
    struct run run = {
        .work = work, .model = ms_engine_info(work->engine), .job = job, .outcome = outcome};
    char *song = ms_strdupf("%s/song", work->folder);
    *outcome = (struct ms_job_outcome){0};
    job->stem_count = 0;
    if (song == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a path");
    int rc = map_options(&job->options, run.model, &run.options, err);
    if (rc == 0)
        rc = ms_pipeline_labels(run.model, &run.options, run.outputs, &run.output_count, err);
    if (rc == 0)
        rc = fetch(&run, song, err);
    if (rc == 0)
        rc = reach(&run, FETCHED, err);
    if (rc == 0)
        rc = load(&run, err);
    if (rc == 0)
        rc = separate(&run, song, err);
    if (rc == 0)
        rc = upload_all(&run, err);
    outcome->uploads |= ms_preview_end(work->preview);
    outcome->seconds = ms_monotonic_s() - begin_s;
    outcome->unwell |= is_of_machine(rc);
    if (rc == 0)
        write_receipt(work, outcome->seconds, &job->receipt);
    else
        tell_clients(&run, err);
    for (int i = 0; i < run.output_count; i++) {
        free(run.outputs[i].path);
        free(run.outputs[i].kept_path);
        ms_peaks_fini(&run.peaks[i]);
    }
    free(song);
    return rc;
}
