/* `msaas fetch` and `msaas mix`: a job's stems, an archive of them, or a mix -> files. What the
 * job's record describes is checked against its SHA-256. Names come from the server, so none may
 * leave the folder. Main thread. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "download.h"
#include "msaas/cmd.h"
#include "msaas/digest.h"
#include "msaas/sys.h"
#include "msaas/url.h"

#define STEM_FILE_PATIENCE_S 3600 /* it is made before it is sent */

static const char fetch_usage[] =
    "Downloads the stems of finished jobs.\n"
    "\n"
    "Usage: msaas fetch [OPTIONS] ID...\n"
    "\n"
    "Examples:\n"
    "  msaas fetch $ID\n"
    "      separated/SONG/{drums,bass,other,vocals}.mp3\n"
    "  msaas fetch --flac $ID\n"
    "      the same stems in another format; nothing is separated again\n"
    "  msaas fetch --zip $ID\n"
    "      separated/SONG.zip\n"
    "  msaas fetch --zip -o - $ID | ssh host 'cat >stems.zip'\n"
    "  msaas fetch --stem-mp4 $ID\n"
    "      separated/SONG.stem.mp4, for DJ programs; needs the four stems\n"
    "  msaas fetch --wait -o stems $ID\n"
    "      waits for the job; stems/drums.mp3 and so on\n"
    "\n"
    "SONG is the song's name, or the ID where it has none. Every file is checked, and gets\n"
    "its name only when it is complete.\n"
    "\n"
    "Exit code: 0 all files are there; 1 at least one is missing; 2 wrong usage; 130\n"
    "interrupted.\n";

static const char mix_usage[] =
    "Downloads a mix of the stems of a finished job: louder, quieter, without some of them.\n"
    "Nothing is separated again.\n"
    "\n"
    "Usage: msaas mix [OPTIONS] ID\n"
    "\n"
    "Examples:\n"
    "  msaas mix --gains vocals:-inf $ID\n"
    "      karaoke: separated/SONG/mix.mp3\n"
    "  msaas mix --gains drums:-inf,bass:-inf,other:-inf --format flac -o acappella.flac $ID\n"
    "  msaas mix --gains vocals:-6,drums:3 --pan other:-0.3 -o - $ID | mpv -\n"
    "  msaas mix --format wav --float32 $ID\n"
    "      the exact sum of the stems\n"
    "\n"
    "Exit code: 0 the file is there; 1 it is not; 2 wrong usage; 130 interrupted.\n";

/* Whether the name may become a file name: letters, digits, '-' and '_'. */
static bool is_plain(const char *text, size_t max) {
    return text != NULL && text[0] != '\0' && strlen(text) <= max &&
           text[strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_")] ==
               '\0';
}

static int no_memory(struct ms_error *err) {
    return ms_error_set(err, MS_ENOMEM, "no memory for a name");
}

/* The format of the job, which its record describes. */
static const char *format_of(const struct ms_client_job *job) {
    const char *format =
        ms_json_string(ms_json_get(ms_json_get(job->document, "options"), "format"));
    return is_plain(format, 8) ? format : "mp3";
}

/* The job, which has succeeded. */
static int get_finished(struct ms_client *client, const char *id, struct ms_client_job *job,
                        struct ms_error *err) {
    int rc = ms_options_flag(client->options, MS_OPTION_WAIT)
                 ? ms_client_wait(client, id, job, err)
                 : ms_client_get_job(client, id, job, err);
    if (rc != 0)
        return rc;
    if (strcmp(job->state, "queued") == 0 || strcmp(job->state, "running") == 0)
        return ms_error_set(err, MS_ECONFLICT, "job %s is %s, %d %% done: wait for it with --wait",
                            id, job->state, (int)(job->progress * 100));
    return strcmp(job->state, "succeeded") == 0 ? 0 : ms_client_job_failed(job, err);
}

static void tell(const struct ms_client *client, const char *file) {
    if (client->json || client->report.quiet || strcmp(file, "-") == 0)
        return;
    ms_cmd_print_plain(file, stdout);
    (void)putchar('\n');
}

static void print_json(const struct ms_client *client, struct ms_json_writer *writer) {
    const char *text = ms_json_writer_text(writer, NULL);
    if (client->json)
        (void)puts(text != NULL ? text : "");
}

/* ---- fetch ---- */

static int fetch_stem(struct ms_client *client, const struct ms_client_job *job,
                      const struct ms_json *node, const char *folder, struct ms_json_writer *writer,
                      struct ms_error *err) {
    const char *name = ms_json_string(ms_json_get(node, "name"));
    const char *own = format_of(job);
    const char *format = own;
    int rc = ms_client_format(client->options, &format, err);
    if (rc != 0)
        return rc;
    if (format == NULL)
        format = own;
    if (!is_plain(name, 48))
        return ms_error_set(err, MS_ECORRUPT,
                            "the server sent a stem whose name cannot be a file name");
    char *path = ms_strdupf("/apiv2/jobs/%s/stems/%s.%s", job->id, name, format);
    char *file = ms_strdupf("%s/%s.%s", folder, name, format);
    struct ms_download download = {.path = path, .label = name, .file = file, .bytes = -1};
    if (strcmp(format, own) == 0) {
        (void)ms_json_int(ms_json_get(node, "bytes"), &download.bytes);
        download.sha256 = ms_json_string(ms_json_get(node, "sha256"));
        if (download.sha256 != NULL && strlen(download.sha256) != MS_SHA256_HEX - 1)
            download.sha256 = NULL;
    }
    rc = path != NULL && file != NULL ? ms_client_download(client, &download, err) : no_memory(err);
    if (rc == 0) {
        ms_json_begin_object(writer, NULL);
        ms_json_put_string(writer, "name", name);
        ms_json_put_string(writer, "path", file);
        ms_json_end_object(writer);
        tell(client, file);
    }
    free(path);
    free(file);
    return rc;
}

static int fetch_stems(struct ms_client *client, const struct ms_client_job *job,
                       const char *folder, struct ms_json_writer *writer, struct ms_error *err) {
    const struct ms_json *stems = ms_json_get(job->document, "stems");
    int rc = ms_make_dirs(folder, err);
    ms_json_begin_array(writer, "stems");
    for (const struct ms_json *node = ms_json_first(stems); rc == 0 && node != NULL;
         node = ms_json_next(node))
        rc = fetch_stem(client, job, node, folder, writer, err);
    ms_json_end_array(writer);
    return rc;
}

/* All stems in one file: an archive or, with --stem-mp4, a stem file. */
static int fetch_whole(struct ms_client *client, const struct ms_client_job *job,
                       const char *folder, const char *song, struct ms_json_writer *writer,
                       struct ms_error *err) {
    const char *format = NULL;
    const bool zip = ms_options_flag(client->options, MS_OPTION_FETCH_ZIP);
    int rc = ms_client_format(client->options, &format, err);
    if (rc != 0)
        return rc;
    char *path = zip ? ms_strdupf("/apiv2/jobs/%s/stems.zip?format=%s", job->id,
                                  format != NULL ? format : format_of(job))
                     : ms_strdupf("/apiv2/jobs/%s/stem.mp4", job->id);
    const bool to_stdout = strcmp(folder, "-") == 0;
    char *file =
        to_stdout ? strdup("-") : ms_strdupf("%s/%s.%s", folder, song, zip ? "zip" : "stem.mp4");
    const struct ms_download download = {.path = path,
                                         .label = zip ? "stems.zip" : "stem.mp4",
                                         .file = file,
                                         .bytes = -1,
                                         .patience_s = zip ? 0 : STEM_FILE_PATIENCE_S};
    rc = path != NULL && file != NULL ? 0 : no_memory(err);
    if (rc == 0 && !to_stdout)
        rc = ms_make_dirs(folder, err);
    if (rc == 0)
        rc = ms_client_download(client, &download, err);
    if (rc == 0) {
        ms_json_put_string(writer, "path", file);
        tell(client, file);
    }
    free(path);
    free(file);
    return rc;
}

static int json_and_stdout(struct ms_error *err) {
    return ms_error_set(err, MS_EUSAGE,
                        "--json and -o - both write to standard output: choose one");
}

static bool is_whole(const struct ms_client *client) {
    return ms_options_flag(client->options, MS_OPTION_FETCH_ZIP) ||
           ms_options_flag(client->options, MS_OPTION_STEM_MP4);
}

static int fetch_job(struct ms_client *client, const char *id, struct ms_error *err) {
    struct ms_client_job job = {0};
    const char *out = ms_options_string(client->options, MS_OPTION_FETCH_OUT);
    const bool whole = is_whole(client);
    char *folder = NULL;
    char song[MS_FILE_NAME_BYTES];
    struct ms_json_writer *writer = ms_json_writer_new();
    int rc = writer != NULL ? get_finished(client, id, &job, err) : no_memory(err);
    if (rc != 0)
        goto out;
    ms_client_song_name(&job, song);
    folder = out != NULL ? strdup(out)
             : whole     ? strdup("separated")
                         : ms_strdupf("separated/%s", song);
    if (folder == NULL) {
        rc = no_memory(err);
        goto out;
    }
    ms_json_begin_object(writer, NULL);
    ms_json_put_string(writer, "id", id);
    rc = whole ? fetch_whole(client, &job, folder, song, writer, err)
               : fetch_stems(client, &job, folder, writer, err);
    ms_json_end_object(writer);
    if (rc == 0)
        print_json(client, writer);
out:
    ms_json_writer_free(writer);
    ms_client_job_fini(&job);
    free(folder);
    return rc;
}

static bool is_stdout(const char *out) {
    return out != NULL && strcmp(out, "-") == 0;
}

/* Standard output takes one file and nothing beside it. */
static int check_stdout(const struct ms_client *client, struct ms_error *err) {
    if (!is_stdout(ms_options_string(client->options, MS_OPTION_FETCH_OUT)))
        return 0;
    if (!is_whole(client) || ms_options_argument_count(client->options) != 1)
        return ms_error_set(err, MS_EUSAGE,
                            "-o - is for one file: take the stems of one job as a --zip or a "
                            "--stem-mp4");
    return client->json ? json_and_stdout(err) : 0;
}

static int run_fetch(const struct ms_call *call) {
    struct ms_client client;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_client_begin(&client, call, &exit_code))
        return exit_code;
    int count = ms_options_argument_count(client.options);
    const char *format;
    int rc = ms_client_check_ids(&client, &err);
    if (rc == 0)
        rc = ms_client_format(client.options, &format, &err);
    if (rc == 0 && ms_options_flag(client.options, MS_OPTION_STEM_MP4) &&
        (format != NULL || ms_options_flag(client.options, MS_OPTION_FETCH_ZIP)))
        rc = ms_error_set(&err, MS_EUSAGE, "--stem-mp4 excludes --zip and the other formats");
    if (rc == 0)
        rc = check_stdout(&client, &err);
    if (rc == 0 && count > 1 && ms_options_is_set(client.options, MS_OPTION_FETCH_OUT) &&
        !is_whole(&client))
        rc = ms_error_set(
            &err, MS_EUSAGE,
            "--out: works with one job only; the stems of several would overwrite each other");
    for (int i = 0; rc == 0 && i < count; i++) {
        rc = fetch_job(&client, ms_options_argument(client.options, i), &err);
        if (rc == MS_ENOTFOUND || rc == MS_ECONFLICT || rc == MS_EINPUT) { /* of this job alone */
            ms_report_failed(&client.report, NULL, &err);
            rc = 0;
        }
    }
    return ms_client_end(&client, call->argv[0], rc, &err);
}

/* ---- mix ---- */

/* *path: of the mix on the server, with the values of the options. */
static int mix_path(const struct ms_client *client, const char *id, const char *format, char **path,
                    struct ms_error *err) {
    const struct ms_options *options = client->options;
    const char *gains = ms_options_string(options, MS_OPTION_GAINS);
    const char *pan = ms_options_string(options, MS_OPTION_PAN);
    const int64_t kbps = ms_options_int(options, MS_OPTION_BITRATE);
    const char *type = ms_options_flag(options, MS_OPTION_FLOAT32) ? "float32"
                       : ms_options_flag(options, MS_OPTION_INT24) ? "int24"
                                                                   : "";
    char bitrate[30] = "";
    if (kbps > 0)
        (void)snprintf(bitrate, sizeof bitrate, "%lld", (long long)kbps);
    char *gains_word = ms_percent_encode(gains != NULL ? gains : "", false);
    char *pan_word = ms_percent_encode(pan != NULL ? pan : "", false);
    *path = gains_word != NULL && pan_word != NULL
                ? ms_strdupf("/apiv2/jobs/%s/mix?gains=%s&pan=%s&format=%s&bitrate=%s&"
                             "sample_type=%s",
                             id, gains_word, pan_word, format, bitrate, type)
                : NULL;
    free(gains_word);
    free(pan_word);
    return *path != NULL ? 0 : no_memory(err);
}

static int mix_job(struct ms_client *client, const char *id, struct ms_error *err) {
    struct ms_client_job job = {0};
    const char *out = ms_options_string(client->options, MS_OPTION_MIX_OUT);
    const char *format = ms_options_string(client->options, MS_OPTION_MIX_FORMAT);
    char song[MS_FILE_NAME_BYTES];
    char *folder = NULL, *file = NULL, *path = NULL;
    struct ms_json_writer *writer = ms_json_writer_new();
    int rc = writer != NULL ? get_finished(client, id, &job, err) : no_memory(err);
    if (rc == 0)
        rc = mix_path(client, id, format, &path, err);
    if (rc == 0 && out == NULL) {
        ms_client_song_name(&job, song);
        folder = ms_strdupf("separated/%s", song);
        file = ms_strdupf("separated/%s/mix.%s", song, format);
        rc = folder != NULL && file != NULL ? ms_make_dirs(folder, err) : no_memory(err);
    }
    const struct ms_download download = {
        .path = path, .label = "mix", .file = out != NULL ? out : file, .bytes = -1};
    if (rc == 0)
        rc = ms_client_download(client, &download, err);
    if (rc == 0) {
        ms_json_begin_object(writer, NULL);
        ms_json_put_string(writer, "id", id);
        ms_json_put_string(writer, "path", download.file);
        ms_json_end_object(writer);
        print_json(client, writer);
        tell(client, download.file);
    }
    ms_json_writer_free(writer);
    ms_client_job_fini(&job);
    free(folder);
    free(file);
    free(path);
    return rc;
}

static int run_mix(const struct ms_call *call) {
    struct ms_client client;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_client_begin(&client, call, &exit_code))
        return exit_code;
    int rc = ms_client_check_ids(&client, &err);
    if (rc == 0 && ms_options_argument_count(client.options) != 1)
        rc = ms_error_set(&err, MS_EUSAGE, "mix takes one ID, since it makes one file");
    else if (rc == 0 && client.json &&
             is_stdout(ms_options_string(client.options, MS_OPTION_MIX_OUT)))
        rc = json_and_stdout(&err);
    if (rc == 0)
        rc = mix_job(&client, ms_options_argument(client.options, 0), &err);
    return ms_client_end(&client, call->argv[0], rc, &err);
}

static const enum ms_option_id fetch_option_ids[] = {
    MS_OPTION_WAV,       MS_OPTION_MP3,   MS_OPTION_FLAC,  MS_OPTION_OPUS,      MS_OPTION_M4A,
    MS_OPTION_SERVER,    MS_OPTION_TOKEN, MS_OPTION_WAIT,  MS_OPTION_FETCH_ZIP, MS_OPTION_STEM_MP4,
    MS_OPTION_FETCH_OUT, MS_OPTION_JSON,  MS_OPTION_QUIET, MS_OPTION_COUNT};

static const enum ms_option_id mix_option_ids[] = {
    MS_OPTION_SERVER,     MS_OPTION_TOKEN,   MS_OPTION_WAIT,  MS_OPTION_GAINS,   MS_OPTION_PAN,
    MS_OPTION_MIX_FORMAT, MS_OPTION_BITRATE, MS_OPTION_INT24, MS_OPTION_FLOAT32, MS_OPTION_MIX_OUT,
    MS_OPTION_JSON,       MS_OPTION_QUIET,   MS_OPTION_COUNT};

const struct ms_command ms_cmd_fetch = {
    .name = "fetch",
    .summary = "download the stems of a job",
    .usage = fetch_usage,
    .options = fetch_option_ids,
    .run = run_fetch,
};

const struct ms_command ms_cmd_mix = {
    .name = "mix",
    .summary = "download a mix of the stems of a job",
    .usage = mix_usage,
    .options = mix_option_ids,
    .run = run_mix,
};
