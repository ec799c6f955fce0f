/* `msaas separate`: options -> model, songs and the names of their stems -> each song through the
 * pipeline. Everything that can be refused is refused before work starts. Main thread; the lanes
 * are the separator's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle.h"
#include "inputs.h"
#include "model_list.h"
#include "msaas/cmd.h"
#include "msaas/pipeline.h"
#include "msaas/sys.h"
#include "naming.h"
#include "report.h"
#include "separate_options.h"
#include "streams.h"

static const char usage[] =
    "Separates songs into stems. Each stem is a file as long as the song.\n"
    "\n"
    "Usage: msaas separate [OPTIONS] FILE...    (-: standard input)\n"
    "\n"
    "Examples:\n"
    "  msaas separate song.mp3\n"
    "      separated/htdemucs/song/{drums,bass,other,vocals}.wav\n"
    "  msaas separate --two-stems vocals --mp3 -o karaoke *.flac\n"
    "      vocals.mp3 and no_vocals.mp3 of every song\n"
    "  msaas separate -r Music --flac --filename '{track} ({stem}).{ext}'\n"
    "      every song in a folder and the folders in it\n"
    "  curl -s $URL | msaas separate --stems vocals --mp3 -o - - | mpv -\n"
    "      from standard input to standard output; with --zip all stems\n"
    "\n"
    "Reads what FFmpeg reads: mp3, wav, flac, ogg, opus, m4a, wma, mp4, mkv, ... A file\n"
    "that cannot be used is reported, and the others are still separated.\n"
    "\n"
    "Exit code: 0 all done; 1 at least one song is not complete; 2 wrong usage;\n"
    "130 interrupted.\n";

/* One song, and the files of its stems. */
struct song {
    const struct ms_input *input;
    /* Paths as they are told: of all stems that of the zip with --zip, "-" with --out=-. */
    struct ms_pipeline_output outputs[MS_PIPELINE_MAX_OUTPUTS];
    int output_count; /* 0: refused */
};

struct run {
    struct ms_options *options;
    struct ms_pipeline_options pipeline;
    struct ms_report report;
    struct ms_inputs inputs;
    struct ms_network *network;
    const struct ms_model_info *info;
    struct ms_bundle bundle;
    bool bundles, to_output; /* the stems become no files of their own; not even a zip */
    char *template;          /* below --out */
    struct song *songs;      /* [inputs.count] */
    struct ms_separator *separator;
};

static bool given(const struct run *run, enum ms_option_id id) {
    return ms_options_is_set(run->options, id);
}

static int needs(bool holds, const char *text, struct ms_error *err) {
    return holds ? 0 : ms_error_set(err, MS_EUSAGE, "%s", text);
}

/* ---- songs and names ---- */

/* Where the results go. */
static int choose_place(struct run *run, struct ms_error *err) {
    run->bundle.zip = ms_options_flag(run->options, MS_OPTION_ZIP);
    run->to_output = strcmp(ms_options_string(run->options, MS_OPTION_OUT), "-") == 0;
    run->bundles = run->bundle.zip || run->to_output;
    if (!run->to_output)
        return 0;
    int rc = needs(!given(run, MS_OPTION_FILENAME),
                   "--filename names files, and with --out=- there are none", err);
    if (rc == 0)
        rc = needs(ms_options_argument_count(run->options) == 1 && !given(run, MS_OPTION_RECURSIVE),
                   "--out=- is for one song", err);
    return rc == 0 ? ms_streams_take_output(&run->bundle.output, err) : rc;
}

/* Refuses a template that is wrong for any song. Every path is OUT/MODEL/FILENAME. */
static int check_template(struct run *run, struct ms_error *err) {
    const struct ms_naming example = {"m", "t", "x", "s", "e"};
    const bool of_zip = run->bundle.zip && !given(run, MS_OPTION_FILENAME);
    const char *filename =
        of_zip ? "{track}.{ext}" : ms_options_string(run->options, MS_OPTION_FILENAME);
    char *path = NULL;
    int rc = needs(!run->bundle.zip || strstr(filename, "{stem}") == NULL,
                   "names the zip of a song, which holds all its stems: it has no {stem}", err);
    if (rc == 0)
        rc = ms_naming_expand(filename, &example, &path, err);
    free(path);
    if (rc != 0)
        return ms_error_prefix(err, "--filename");
    run->template = ms_strdupf("{model}/%s", filename);
    return run->template != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a name");
}

static int gather(struct run *run, struct ms_error *err) {
    struct stat out;
    bool recursive = given(run, MS_OPTION_RECURSIVE);
    bool has_out = stat(ms_options_string(run->options, MS_OPTION_OUT), &out) == 0;
    bool kept = false;
    int rc = 0;
    run->inputs.refused = ms_report_failed;
    run->inputs.context = &run->report;
    for (int i = 0; rc == 0 && i < ms_options_argument_count(run->options); i++) {
        const char *path = ms_options_argument(run->options, i);
        if (strcmp(path, "-") == 0) {
            rc = kept ? 0 : ms_streams_keep_input(err);
            path = MS_STANDARD_INPUT;
            kept = true;
        }
        if (rc == 0)
            rc = ms_inputs_add(&run->inputs, path, recursive, has_out ? &out : NULL, err);
    }
    return rc;
}

/* Reports an error of this song and leaves the song out. Only a lack of memory ends the run. */
static int refuse(struct run *run, struct song *song, struct ms_error *err) {
    if (err->code == MS_ENOMEM)
        return err->code;
    err->code = MS_EINPUT;
    ms_report_failed(&run->report, song->input->path, err);
    song->output_count = 0;
    return 0;
}

static int name_outputs(struct run *run, struct song *song, struct ms_error *err) {
    const char *out = ms_options_string(run->options, MS_OPTION_OUT);
    const char *format = ms_audio_format_extension(run->pipeline.encode.format);
    int rc = 0;
    for (int i = 0; i < song->output_count; i++) {
        struct ms_naming values = {
            .model = run->info->name,
            .track = song->input->track,
            .trackext = song->input->extension,
            .stem = song->outputs[i].label,
            .ext = run->bundle.zip ? "zip" : format,
        };
        char *name = NULL;
        if (run->to_output) {
            song->outputs[i].path = strdup(out);
            if (song->outputs[i].path == NULL)
                return ms_error_set(err, MS_ENOMEM, "no memory for a name");
            continue;
        }
        rc = ms_naming_expand(run->template, &values, &name, err);
        if (rc != 0) {
            (void)ms_error_prefix(err, "cannot name its stems");
            (void)ms_error_prefix(err, "%s", song->input->path);
            return refuse(run, song, err);
        }
        song->outputs[i].path = ms_strdupf("%s/%s", out, name);
        free(name);
        if (song->outputs[i].path == NULL)
            return ms_error_set(err, MS_ENOMEM, "no memory for a name");
        struct stat status;
        if (stat(song->outputs[i].path, &status) == 0 && status.st_dev == song->input->device &&
            status.st_ino == song->input->inode) {
            (void)ms_error_about(err, MS_EINPUT, song->input->path,
                                 "a stem would overwrite the song itself");
            return refuse(run, song, err);
        }
    }
    return rc;
}

struct claim {
    const char *path;
    struct song *song;
};

static int by_path_and_order(const void *a, const void *b) {
    const struct claim *x = a;
    const struct claim *y = b;
    int order = strcmp(x->path, y->path);
    return order != 0 ? order : (x->song > y->song) - (x->song < y->song);
}

/* Of two songs whose stems have the same path, the later one is refused; silently, if it is the
 * same file named twice. */
static int refuse_collisions(struct run *run, struct ms_error *err) {
    size_t count = 0;
    if (run->to_output)
        return 0;
    for (int i = 0; i < run->inputs.count; i++)
        count += (size_t)run->songs[i].output_count;
    struct claim *claims = calloc(count + 1, sizeof *claims);
    int rc = 0;
    if (claims == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the names of the stems");
    count = 0;
    for (int i = 0; i < run->inputs.count; i++)
        for (int j = 0; j < (run->bundle.zip ? 1 : run->songs[i].output_count); j++)
            claims[count++] = (struct claim){run->songs[i].outputs[j].path, &run->songs[i]};
    qsort(claims, count, sizeof *claims, by_path_and_order);
    for (size_t i = 1, first = 0; rc == 0 && i < count; i++) {
        const struct ms_input *kept = claims[first].song->input;
        struct song *later = claims[i].song;
        if (strcmp(claims[i].path, claims[first].path) != 0) {
            first = i;
        } else if (claims[first].song == later) {
            rc = ms_error_about(err, MS_EUSAGE, "--filename",
                                "must contain {stem}, or the stems of a song "
                                "overwrite each other");
        } else if (later->output_count > 0) {
            (void)ms_error_about(err, MS_EINPUT, later->input->path,
                                 "its stems would overwrite those of %s; separate it into another "
                                 "--out, or use {trackext} in --filename",
                                 kept->path);
            if (later->input->device == kept->device && later->input->inode == kept->inode)
                later->output_count = 0;
            else
                rc = refuse(run, later, err);
        }
    }
    free(claims);
    return rc;
}

static int plan(struct run *run, struct ms_error *err) {
    run->songs = calloc((size_t)run->inputs.count + 1, sizeof *run->songs);
    int rc = run->songs != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for the songs");
    for (int i = 0; rc == 0 && i < run->inputs.count; i++) {
        struct song *song = &run->songs[i];
        song->input = &run->inputs.items[i];
        rc = ms_pipeline_labels(run->info, &run->pipeline, song->outputs, &song->output_count, err);
        if (rc == 0)
            rc = needs(!run->to_output || run->bundle.zip || song->output_count == 1,
                       "--out=- is for one stem: choose it with --stems, or take all as a --zip",
                       err);
        if (rc == 0)
            rc = name_outputs(run, song, err);
    }
    return rc == 0 ? refuse_collisions(run, err) : rc;
}

/* ---- work ---- */

/* The folder of an output. */
static int make_parent(const char *path, struct ms_error *err) {
    char *folder = strndup(path, (size_t)(strrchr(path, '/') - path));
    if (folder == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a name");
    int rc = ms_make_dirs(folder, err);
    free(folder);
    return rc;
}

/* After a failure: removes the folders that were made for nothing, up to --out. Folders in use are
 * not empty, and stay. */
static void remove_empty_parents(const char *path, size_t out_length) {
    char *folder = strdup(path);
    char *slash;
    while (folder != NULL && (slash = strrchr(folder, '/')) != NULL &&
           (size_t)(slash - folder) > out_length) {
        *slash = '\0';
        if (rmdir(folder) != 0)
            break;
    }
    free(folder);
}

static int separate_to(struct run *run, const struct song *song,
                       const struct ms_pipeline_output *outputs, const char *folder,
                       struct ms_pipeline_stats *stats, struct ms_error *err) {
    const struct ms_separate_hooks hooks = {
        .context = &run->report,
        .progress = ms_report_progress,
        .cancel = ms_cmd_interrupted(),
    };
    return ms_pipeline_run(run->separator, run->info, song->input->path, &run->pipeline, outputs,
                           song->output_count, folder, &hooks, stats, err);
}

static int separate_and_bundle(struct run *run, const struct song *song,
                               struct ms_pipeline_stats *stats, struct ms_error *err) {
    const char *parent =
        run->to_output ? ms_streams_folder() : ms_options_string(run->options, MS_OPTION_OUT);
    struct ms_pipeline_output outputs[MS_PIPELINE_MAX_OUTPUTS];
    const int count = song->output_count;
    memcpy(outputs, song->outputs, sizeof outputs);
    for (int i = 0; i < count; i++)
        outputs[i].path = NULL;
    int rc = run->bundle.folder != NULL ? 0 : ms_bundle_open(&run->bundle, parent, err);
    if (rc == 0)
        rc = ms_bundle_place(&run->bundle, ms_audio_format_extension(run->pipeline.encode.format),
                             outputs, count, err);
    if (rc == 0)
        rc = separate_to(run, song, outputs, run->bundle.folder, stats, err);
    if (rc == 0)
        rc = ms_bundle_send(&run->bundle, outputs, count, song->input->track, song->outputs[0].path,
                            err);
    for (int i = 0; i < count; i++)
        free(outputs[i].path);
    return rc;
}

static int separate_song(struct run *run, struct song *song, struct ms_error *err) {
    const char *out = ms_options_string(run->options, MS_OPTION_OUT);
    struct ms_pipeline_stats stats = {0};
    int rc = 0;
    ms_report_begin(&run->report, song->input->path, run->info->sample_rate_hz);
    for (int i = 0; rc == 0 && !run->to_output && i < song->output_count; i++)
        rc = make_parent(song->outputs[i].path, err);
    if (rc == 0)
        rc = run->bundles ? separate_and_bundle(run, song, &stats, err)
                          : separate_to(run, song, song->outputs, out, &stats, err);
    if (rc == 0) {
        ms_report_done(&run->report, song->outputs, song->output_count, &stats,
                       run->network->precision);
        return 0;
    }
    for (int i = 0; i < song->output_count; i++)
        remove_empty_parents(song->outputs[i].path, strlen(out));
    if (!ms_error_is_about(err, song->input->path))
        (void)ms_error_prefix(err, "%s", song->input->path);
    ms_report_failed(&run->report, song->input->path, err);
    return rc;
}

/* With --no-split: whether the song is as short as one piece must be. Shifts make it longer. */
static int check_length(void *context, int64_t frames, struct ms_error *err) {
    const struct run *run = context;
    const double rate_hz = run->info->sample_rate_hz;
    const double shift_s = run->pipeline.separate.shifts > 0 ? 0.5 : 0;
    const double most_s = run->info->segment_frames / rate_hz - shift_s;
    if ((double)frames <= most_s * rate_hz)
        return 0;
    return ms_error_set(err, MS_EINPUT,
                        "has %.1f s; in one piece, model %s takes at most %.6g s%s: leave out "
                        "--no-split",
                        (double)frames / rate_hz, run->info->name, most_s,
                        shift_s > 0 ? " with --shifts" : "");
}

/* Returns errors of the whole run. A song's own errors are reported where they happen. */
static int run_all(struct run *run, struct ms_error *err) {
    const atomic_bool *interrupted = ms_cmd_interrupted();
    int rc = ms_separate_options_read(run->options, &run->pipeline, err);
    if (rc == 0)
        rc = choose_place(run, err);
    if (rc == 0)
        rc = check_template(run, err);
    if (rc == 0)
        rc = gather(run, err);
    if (rc != 0 || run->inputs.count == 0)
        return rc;
    rc = ms_cmd_open_network(run->options, &run->network, err);
    if (rc != 0)
        return rc;
    run->info = &run->network->info;
    if (ms_options_flag(run->options, MS_OPTION_NO_SPLIT))
        run->pipeline.admit = check_length;
    run->pipeline.admit_context = run;
    rc = ms_separate_options_suit(run->options, run->info, &run->pipeline, err);
    if (rc == 0)
        rc = plan(run, err);
    if (rc != 0)
        return rc;
    int lanes = ms_cmd_lanes(run->options), batch = ms_cmd_batch(run->options);
    ms_report_detail(&run->report, "model %s (%s), %s, %d lane%s, batch %d", run->info->name,
                     run->info->licence, ms_precision_name(run->network->precision), lanes,
                     lanes == 1 ? "" : "s", batch);
    rc = ms_separator_new(run->network, lanes, batch, &run->separator, err);
    for (int i = 0; rc == 0 && i < run->inputs.count; i++) {
        struct ms_error of_song = {0};
        if (atomic_load(interrupted))
            rc = ms_error_set(err, MS_ECANCELED, "interrupted");
        else if (run->songs[i].output_count > 0 &&
                 separate_song(run, &run->songs[i], &of_song) == MS_ECANCELED)
            rc = ms_error_set(err, MS_ECANCELED, "interrupted");
    }
    return rc;
}

static int list_models(const struct ms_options *options, struct ms_error *err) {
    char *folder = NULL;
    int rc = ms_models_dir(ms_options_string(options, MS_OPTION_MODELS_DIR), &folder, err);
    if (rc == 0)
        rc = ms_model_list_print(folder, ms_options_flag(options, MS_OPTION_JSON), err);
    free(folder);
    return rc;
}

static void run_fini(struct run *run) {
    ms_separator_free(run->separator);
    for (int i = 0; run->songs != NULL && i < run->inputs.count; i++)
        for (int j = 0; j < MS_PIPELINE_MAX_OUTPUTS; j++)
            free(run->songs[i].outputs[j].path);
    free(run->songs);
    ms_network_free(run->network);
    ms_inputs_clear(&run->inputs);
    ms_bundle_close(&run->bundle);
    free(run->template);
    ms_options_free(run->options);
}

static int run_separate(const struct ms_call *call) {
    struct run run = {.bundle.output = -1};
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_cmd_begin(call, &run.options, &exit_code))
        return exit_code;
    ms_report_init(&run.report, given(&run, MS_OPTION_JSON), given(&run, MS_OPTION_QUIET),
                   given(&run, MS_OPTION_VERBOSE));
    const bool lists = ms_options_flag(run.options, MS_OPTION_LIST_MODELS);
    if ((lists ? list_models(run.options, &err) : run_all(&run, &err)) != 0) {
        ms_report_error_event(&run.report, NULL, &err);
        exit_code = ms_cmd_failed(call->argv[0], &err);
    } else if (run.report.failures > 0) {
        exit_code = MS_EXIT_FAILED;
    }
    run_fini(&run);
    return exit_code;
}

static const enum ms_option_id option_ids[] = {
    MS_OPTION_MODEL,     MS_OPTION_MODELS_DIR,   MS_OPTION_OUT,         MS_OPTION_FILENAME,
    MS_OPTION_ZIP,       MS_OPTION_NO_SPLIT,     MS_OPTION_LIST_MODELS, MS_OPTION_RECURSIVE,
    MS_OPTION_TWO_STEMS, MS_OPTION_OTHER_METHOD, MS_OPTION_STEMS,       MS_OPTION_SHIFTS,
    MS_OPTION_SEED,      MS_OPTION_OVERLAP,      MS_OPTION_SEGMENT,     MS_OPTION_WAV,
    MS_OPTION_MP3,       MS_OPTION_FLAC,         MS_OPTION_OPUS,        MS_OPTION_M4A,
    MS_OPTION_INT24,     MS_OPTION_FLOAT32,      MS_OPTION_MP3_BITRATE, MS_OPTION_MP3_PRESET,
    MS_OPTION_BITRATE,   MS_OPTION_CLIP_MODE,    MS_OPTION_LANES,       MS_OPTION_BATCH,
    MS_OPTION_DEVICE,    MS_OPTION_PRECISION,    MS_OPTION_JSON,        MS_OPTION_QUIET,
    MS_OPTION_VERBOSE,   MS_OPTION_COUNT};

const struct ms_command ms_cmd_separate = {
    .name = "separate",
    .summary = "separate songs into stems: vocals, drums, bass, other",
    .usage = usage,
    .options = option_ids,
    .runs_networks = true,
    .run = run_separate,
};
