/* `msaas separate`: options -> model, songs and the names of their stems -> each song through the
 * pipeline. Everything that can be refused is refused before work starts. Main thread; the lanes
 * are the separator's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inputs.h"
#include "msaas/cmd.h"
#include "msaas/job_options.h"
#include "msaas/pipeline.h"
#include "msaas/stem.h"
#include "msaas/sys.h"
#include "naming.h"
#include "report.h"

static const char usage[] =
    "Separates songs into stems. Each stem is a file as long as the song.\n"
    "\n"
    "Usage: msaas separate [OPTIONS] FILE...\n"
    "\n"
    "Examples:\n"
    "  msaas separate song.mp3\n"
    "      separated/htdemucs/song/{drums,bass,other,vocals}.wav\n"
    "  msaas separate --two-stems vocals --mp3 -o karaoke *.flac\n"
    "      vocals.mp3 and no_vocals.mp3 of every song\n"
    "  msaas separate -r Music --flac --filename '{track} ({stem}).{ext}'\n"
    "      every song in a folder and the folders in it\n"
    "\n"
    "Reads what FFmpeg reads: mp3, wav, flac, ogg, opus, m4a, wma, mp4, mkv, ... A file\n"
    "that cannot be used is reported, and the others are still separated.\n"
    "\n"
    "Exit code: 0 all done; 1 at least one song is not complete; 2 wrong usage;\n"
    "130 interrupted.\n";

/* One song, and the files of its stems. */
struct song {
    const struct ms_input *input;
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
    char *template;     /* below --out */
    struct song *songs; /* [inputs.count] */
    struct ms_separator *separator;
};

/* ---- options ---- */

static bool given(const struct run *run, enum ms_option_id id) {
    return ms_options_is_set(run->options, id);
}

static int needs(bool holds, const char *text, struct ms_error *err) {
    return holds ? 0 : ms_error_set(err, MS_EUSAGE, "%s", text);
}

static int encode_options(struct run *run, struct ms_error *err) {
    static const struct {
        enum ms_option_id id;
        enum ms_audio_format format;
    } formats[] = {
        {MS_OPTION_WAV, MS_FORMAT_WAV},   {MS_OPTION_MP3, MS_FORMAT_MP3},
        {MS_OPTION_FLAC, MS_FORMAT_FLAC}, {MS_OPTION_OPUS, MS_FORMAT_OPUS},
        {MS_OPTION_M4A, MS_FORMAT_M4A},
    };
    struct ms_encode_options *encode = &run->pipeline.encode;
    int asked = 0;
    encode->format = MS_FORMAT_WAV;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (!given(run, formats[i].id))
            continue;
        encode->format = formats[i].format;
        asked++;
    }
    bool wav = encode->format == MS_FORMAT_WAV;
    bool mp3 = encode->format == MS_FORMAT_MP3;
    bool flac = encode->format == MS_FORMAT_FLAC;
    bool int24 = given(run, MS_OPTION_INT24);
    bool float32 = given(run, MS_OPTION_FLOAT32);
    int rc = needs(asked <= 1, "--wav, --mp3, --flac, --opus and --m4a exclude each other", err);
    if (rc == 0)
        rc = needs(!int24 || !float32, "--int24 and --float32 exclude each other", err);
    if (rc == 0)
        rc = needs(!int24 || wav || flac, "--int24 is for WAV and FLAC only", err);
    if (rc == 0)
        rc = needs(!float32 || wav, "--float32 is for WAV only", err);
    if (rc == 0)
        rc = needs(mp3 || !given(run, MS_OPTION_MP3_BITRATE), "--mp3-bitrate needs --mp3", err);
    if (rc == 0)
        rc = needs(mp3 || !given(run, MS_OPTION_MP3_PRESET), "--mp3-preset needs --mp3", err);
    if (rc == 0)
        rc = needs(!given(run, MS_OPTION_MP3_BITRATE) || !given(run, MS_OPTION_BITRATE),
                   "--bitrate and --mp3-bitrate exclude each other", err);
    encode->sample_type = int24 ? MS_SAMPLE_INT24 : float32 ? MS_SAMPLE_FLOAT32 : MS_SAMPLE_INT16;
    const bool by_mp3 = mp3 && !given(run, MS_OPTION_BITRATE);
    encode->bitrate_kbps =
        (int)ms_options_int(run->options, by_mp3 ? MS_OPTION_MP3_BITRATE : MS_OPTION_BITRATE);
    if (rc == 0)
        rc = ms_job_bitrate_check(ms_audio_format_extension(encode->format), encode->bitrate_kbps,
                                  err);
    encode->mp3_preset = (int)ms_options_int(run->options, MS_OPTION_MP3_PRESET);
    return rc;
}

/* The index of the chosen word. The option table lists the words in the order of the enum. */
static int choice(const struct run *run, enum ms_option_id id, const char *const words[3]) {
    const char *given_word = ms_options_string(run->options, id);
    return strcmp(given_word, words[0]) == 0 ? 0 : strcmp(given_word, words[1]) == 0 ? 1 : 2;
}

/* Everything that can be checked without the model. */
static int read_options(struct run *run, struct ms_error *err) {
    static const char *const clip_modes[] = {"rescale", "clamp", "none"};
    static const char *const other_methods[] = {"add", "minus", "none"};
    struct ms_pipeline_options *pipeline = &run->pipeline;
    int rc = encode_options(run, err);
    if (rc == 0)
        rc = needs(!given(run, MS_OPTION_STEMS) || !given(run, MS_OPTION_TWO_STEMS),
                   "--stems and --two-stems exclude each other", err);
    if (rc == 0)
        rc = needs(given(run, MS_OPTION_TWO_STEMS) || !given(run, MS_OPTION_OTHER_METHOD),
                   "--other-method needs --two-stems", err);
    if (rc == 0)
        rc = needs(!given(run, MS_OPTION_QUIET) || !given(run, MS_OPTION_VERBOSE),
                   "--quiet and --verbose exclude each other", err);
    if (rc == 0)
        rc = needs(ms_options_argument_count(run->options) > 0, "name at least one file", err);
    pipeline->clip = (enum ms_clip_mode)choice(run, MS_OPTION_CLIP_MODE, clip_modes);
    pipeline->other_method =
        (enum ms_other_method)choice(run, MS_OPTION_OTHER_METHOD, other_methods);
    pipeline->separate.overlap = ms_options_double(run->options, MS_OPTION_OVERLAP);
    pipeline->separate.segment_s = ms_options_double(run->options, MS_OPTION_SEGMENT);
    pipeline->separate.shifts = (int)ms_options_int(run->options, MS_OPTION_SHIFTS);
    pipeline->separate.seed = (uint64_t)ms_options_int(run->options, MS_OPTION_SEED);
    pipeline->two_stems = -1;
    return rc;
}

static int find_stem(const struct ms_model_info *info, const char *name, size_t length,
                     const char *option, struct ms_error *err) {
    const int index = ms_stem_find(info->stems, info->stem_count, name, length, err);
    return index >= 0 ? index : ms_error_prefix(err, "%s", option);
}

static int choose_stems(struct run *run, struct ms_error *err) {
    const char *two = ms_options_string(run->options, MS_OPTION_TWO_STEMS);
    const char *list = ms_options_string(run->options, MS_OPTION_STEMS);
    double longest_s = (double)run->info->segment_frames / run->info->sample_rate_hz;
    if (run->pipeline.separate.segment_s > longest_s)
        return ms_error_about(err, MS_EUSAGE, "--segment", "model %s takes at most %.6g s",
                              run->info->name, longest_s);
    if (two != NULL) {
        int index = find_stem(run->info, two, strlen(two), "--two-stems", err);
        run->pipeline.two_stems = index;
        return index < 0 ? index : 0;
    }
    for (int i = 0; list == NULL && i < run->info->stem_count; i++)
        run->pipeline.stems[i] = true;
    while (list != NULL) {
        size_t length = strcspn(list, ",");
        int index = find_stem(run->info, list, length, "--stems", err);
        if (index < 0)
            return index;
        run->pipeline.stems[index] = true;
        list = list[length] == ',' ? list + length + 1 : NULL;
    }
    return 0;
}

/* ---- songs and names ---- */

/* Refuses a template that is wrong for any song. Every path is OUT/MODEL/FILENAME. */
static int check_template(struct run *run, struct ms_error *err) {
    const struct ms_naming example = {"m", "t", "x", "s", "e"};
    const char *filename = ms_options_string(run->options, MS_OPTION_FILENAME);
    char *path = NULL;
    int rc = ms_naming_expand(filename, &example, &path, err);
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
    int rc = 0;
    run->inputs.refused = ms_report_failed;
    run->inputs.context = &run->report;
    for (int i = 0; rc == 0 && i < ms_options_argument_count(run->options); i++)
        rc = ms_inputs_add(&run->inputs, ms_options_argument(run->options, i), recursive,
                           has_out ? &out : NULL, err);
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
    int rc = 0;
    for (int i = 0; i < song->output_count; i++) {
        struct ms_naming values = {
            .model = run->info->name,
            .track = song->input->track,
            .trackext = song->input->extension,
            .stem = song->outputs[i].label,
            .ext = ms_audio_format_extension(run->pipeline.encode.format),
        };
        char *name = NULL;
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
    for (int i = 0; i < run->inputs.count; i++)
        count += (size_t)run->songs[i].output_count;
    struct claim *claims = calloc(count + 1, sizeof *claims);
    int rc = 0;
    if (claims == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the names of the stems");
    count = 0;
    for (int i = 0; i < run->inputs.count; i++)
        for (int j = 0; j < run->songs[i].output_count; j++)
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

static int separate_song(struct run *run, struct song *song, struct ms_error *err) {
    const char *out = ms_options_string(run->options, MS_OPTION_OUT);
    const struct ms_separate_hooks hooks = {
        .context = &run->report,
        .progress = ms_report_progress,
        .cancel = ms_cmd_interrupted(),
    };
    struct ms_pipeline_stats stats = {0};
    int rc = 0;
    ms_report_begin(&run->report, song->input->path, run->info->sample_rate_hz);
    for (int i = 0; rc == 0 && i < song->output_count; i++)
        rc = make_parent(song->outputs[i].path, err);
    if (rc == 0)
        rc = ms_pipeline_run(run->separator, run->info, song->input->path, &run->pipeline,
                             song->outputs, song->output_count, out, &hooks, &stats, err);
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

/* Returns errors of the whole run. A song's own errors are reported where they happen. */
static int run_all(struct run *run, struct ms_error *err) {
    const atomic_bool *interrupted = ms_cmd_interrupted();
    int rc = read_options(run, err);
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
    rc = choose_stems(run, err);
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

static void run_fini(struct run *run) {
    ms_separator_free(run->separator);
    for (int i = 0; run->songs != NULL && i < run->inputs.count; i++)
        for (int j = 0; j < MS_PIPELINE_MAX_OUTPUTS; j++)
            free(run->songs[i].outputs[j].path);
    free(run->songs);
    ms_network_free(run->network);
    ms_inputs_clear(&run->inputs);
    free(run->template);
    ms_options_free(run->options);
}

static int run_separate(const struct ms_call *call) {
    struct run run = {0};
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_cmd_begin(call, &run.options, &exit_code))
        return exit_code;
    ms_report_init(&run.report, given(&run, MS_OPTION_JSON), given(&run, MS_OPTION_QUIET),
                   given(&run, MS_OPTION_VERBOSE));
    if (run_all(&run, &err) != 0) {
        ms_report_error_event(&run.report, NULL, &err);
        exit_code = ms_cmd_failed(call->argv[0], &err);
    } else if (run.report.failures > 0) {
        exit_code = MS_EXIT_FAILED;
    }
    run_fini(&run);
    return exit_code;
}

static const enum ms_option_id option_ids[] = {
    MS_OPTION_MODEL,      MS_OPTION_MODELS_DIR, MS_OPTION_OUT,          MS_OPTION_FILENAME,
    MS_OPTION_RECURSIVE,  MS_OPTION_TWO_STEMS,  MS_OPTION_OTHER_METHOD, MS_OPTION_STEMS,
    MS_OPTION_SHIFTS,     MS_OPTION_SEED,       MS_OPTION_OVERLAP,      MS_OPTION_SEGMENT,
    MS_OPTION_WAV,        MS_OPTION_MP3,        MS_OPTION_FLAC,         MS_OPTION_OPUS,
    MS_OPTION_M4A,        MS_OPTION_INT24,      MS_OPTION_FLOAT32,      MS_OPTION_MP3_BITRATE,
    MS_OPTION_MP3_PRESET, MS_OPTION_BITRATE,    MS_OPTION_CLIP_MODE,    MS_OPTION_LANES,
    MS_OPTION_BATCH,      MS_OPTION_DEVICE,     MS_OPTION_PRECISION,    MS_OPTION_JSON,
    MS_OPTION_QUIET,      MS_OPTION_VERBOSE,    MS_OPTION_COUNT};

const struct ms_command ms_cmd_separate = {
    .name = "separate",
    .summary = "separate songs into stems: vocals, drums, bass, other",
    .usage = usage,
    .options = option_ids,
    .runs_networks = true,
    .run = run_separate,
};
