/* `msaas submit`: a song -> POST /apiv2/jobs, streamed from its file, if it is large as an upload
 * of its own before -> the job's ID, or with --wait its end. Main thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "msaas/cmd.h"
#include "msaas/sys.h"
#include "msaas/text.h"
#include "msaas/url.h"
#include "resume.h"

#define STALL_S 120
#define COPY_S 1800 /* in which the server makes one object of a large upload */

static const char usage[] =
    "Sends songs to a server to be separated.\n"
    "\n"
    "Usage: msaas submit [OPTIONS] FILE...\n"
    "\n"
    "Examples:\n"
    "  msaas submit --wait song.mp3\n"
    "      prints the job's ID when it is done\n"
    "  msaas fetch --flac $(msaas submit --wait --flac --stems vocals song.mp3)\n"
    "      puts vocals.flac into separated/ID\n"
    "  msaas submit --two-stems vocals --server http://msaas.example:5000 *.mp3\n"
    "\n"
    "The same song with the same options is one job, however often it is sent and in\n"
    "whatever format. Ctrl-C ends the waiting only; \"msaas rm ID\" cancels the job.\n"
    "A song of 8 MiB or more goes on where it broke off, also when the same command is\n"
    "given again after it was ended.\n"
    "\n"
    "Exit code: 0 all done; 1 at least one song was refused, or, with --wait, not\n"
    "separated; 2 wrong usage; 130 interrupted.\n";

struct upload {
    struct ms_client *client;
    int fd;
    const char *path;
    int64_t sent, total;
};

static int read_song(void *context, void *buffer, size_t capacity, size_t *size,
                     struct ms_error *err) {
    struct upload *upload = context;
    ssize_t got;
    do {
        got = read(upload->fd, buffer, capacity);
    } while (got < 0 && errno == EINTR);
    if (got <= 0)
        return ms_error_about(err, MS_EIO, upload->path, "%s",
                              got < 0 ? strerror(errno) : "became shorter while it was being sent");
    *size = (size_t)got;
    upload->sent += got;
    if (upload->sent < upload->total) /* after the last byte, the server works */
        ms_report_bar(&upload->client->report, (double)upload->sent / (double)upload->total,
                      "sending", -1);
    return 0;
}

static bool rewind_song(void *context) {
    struct upload *upload = context;
    upload->sent = 0;
    return lseek(upload->fd, 0, SEEK_SET) == 0;
}

/* ---- options ---- */

/* Appends NAME=VALUE, percent-encoded, to the URL's query. */
static int add(char **url, const char *name, const char *value, struct ms_error *err) {
    char *encoded = ms_percent_encode(value, false);
    char *longer =
        encoded == NULL
            ? NULL
            : ms_strdupf("%s%c%s=%s", *url, strchr(*url, '?') == NULL ? '?' : '&', name, encoded);
    free(encoded);
    if (longer == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    free(*url);
    *url = longer;
    return 0;
}

/* Adds the options of the job that were given; the server knows the defaults. */
static int add_options(const struct ms_options *options, char **url, struct ms_error *err) {
    if (ms_options_is_set(options, MS_OPTION_STEMS) &&
        ms_options_is_set(options, MS_OPTION_TWO_STEMS))
        return ms_error_set(err, MS_EUSAGE, "--stems and --two-stems exclude each other");
    const char *format;
    int rc = ms_client_format(options, &format, err);
    if (rc == 0 && format != NULL)
        rc = add(url, "format", format, err);
    for (int id = 0; rc == 0 && id < MS_OPTION_COUNT; id++) {
        struct ms_option_view view;
        if (ms_options_view(options, id, &view) && view.job_name != NULL &&
            ms_options_is_set(options, (enum ms_option_id)id))
            rc = add(url, view.job_name, view.text, err);
    }
    return rc;
}

static const char *content_type(const char *path) {
    static const char *const types[][2] = {
        {".mp3", "audio/mpeg"}, {".wav", "audio/wav"},        {".flac", "audio/flac"},
        {".ogg", "audio/ogg"},  {".opus", "audio/ogg"},       {".m4a", "audio/mp4"},
        {".aac", "audio/aac"},  {".aiff", "audio/aiff"},      {".wma", "audio/x-ms-wma"},
        {".mp4", "video/mp4"},  {".mkv", "video/x-matroska"}, {".webm", "video/webm"},
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot != NULL && i < sizeof types / sizeof *types; i++)
        if (strcasecmp(dot, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

/* ---- songs ---- */

static int open_song(const char *path, int *fd, int64_t *bytes, struct ms_error *err) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (*fd < 0 || fstat(*fd, &status) != 0)
        return ms_error_about(err, MS_EINPUT, path, "%s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return ms_error_about(err, MS_EINPUT, path, "is %s",
                              S_ISDIR(status.st_mode) ? "a folder" : "not a regular file");
    if (status.st_size == 0)
        return ms_error_about(err, MS_EINPUT, path, "is empty");
    *bytes = status.st_size;
    return 0;
}

/* The job's request, with the song as its body. */
static int post_song(struct ms_client *client, const char *url, const char *path, int fd,
                     int64_t bytes, struct ms_client_job *job, struct ms_error *err) {
    struct upload upload = {.client = client, .fd = fd, .path = path, .total = bytes};
    char header[100];
    const char *const headers[] = {header, NULL};
    (void)snprintf(header, sizeof header, "Content-Type: %s", content_type(path));
    const struct ms_http_request request = {
        .method = "POST",
        .headers = headers,
        .read = read_song,
        .rewind = rewind_song,
        .body_bytes = bytes,
        .context = &upload,
        .stall_timeout_s = STALL_S,
    };
    return ms_client_call(client, url, request, &job->document, err);
}

/* The job's request for a song that was sent before. */
static int post_upload(struct ms_client *client, const char *url, const char *id,
                       struct ms_client_job *job, struct ms_error *err) {
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    char body[100];
    const int size = snprintf(body, sizeof body, "{\"source\": {\"upload\": \"%s\"}}", id);
    const struct ms_http_request request = {
        .method = "POST",
        .headers = headers,
        .body = body,
        .body_bytes = size,
        .stall_timeout_s = COPY_S,
    };
    return ms_client_call(client, url, request, &job->document, err);
}

/* A large song goes first, by itself, and may go on after it broke off. */
static int post_large(struct ms_client *client, const char *url, const char *path, int fd,
                      int64_t bytes, struct ms_client_job *job, struct ms_error *err) {
    const char *slash = strrchr(path, '/');
    struct ms_resume resume = {.client = client,
                               .path = path,
                               .fd = fd,
                               .bytes = bytes,
                               .name = slash != NULL ? slash + 1 : path};
    int rc = ms_resume_send(&resume, err);
    if (rc == 0) {
        rc = post_upload(client, url, resume.upload, job, err);
        if (rc == 0 || rc == MS_EINPUT || rc == MS_ETOOLARGE)
            ms_resume_forget(&resume);
    }
    ms_resume_end(&resume);
    if (rc == MS_EUNSUPPORTED) /* a server of an earlier release */
        rc = post_song(client, url, path, fd, bytes, job, err);
    return rc;
}

/* POSTs one song; *job is what the server made of it. */
static int post(struct ms_client *client, const char *query, const char *path,
                struct ms_client_job *job, struct ms_error *err) {
    const char *slash = strrchr(path, '/');
    char *url = strdup(query);
    int fd = -1;
    int64_t bytes = 0;
    int rc = url != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    if (rc == 0 &&
        ms_is_utf8(slash != NULL ? slash + 1 : path)) /* the server refuses other names */
        rc = add(&url, "name", slash != NULL ? slash + 1 : path, err);
    if (rc == 0)
        rc = open_song(path, &fd, &bytes, err);
    if (rc == 0)
        rc = bytes < MS_RESUME_LEAST_BYTES ? post_song(client, url, path, fd, bytes, job, err)
                                           : post_large(client, url, path, fd, bytes, job, err);
    if (rc == 0)
        rc = ms_client_read_job(client, job, err);
    ms_report_clear(&client->report);
    if (fd >= 0)
        (void)close(fd);
    free(url);
    return rc;
}

static int submit(struct ms_client *client, const char *query, const char *path,
                  struct ms_error *err) {
    struct ms_client_job job = {0};
    int rc = post(client, query, path, &job, err);
    if (rc == 0 && ms_options_flag(client->options, MS_OPTION_WAIT)) {
        char id[64];
        (void)snprintf(id, sizeof id, "%s", job.id);
        ms_client_job_fini(&job);
        rc = ms_client_wait(client, id, &job, err);
        if (rc == MS_ECANCELED) { /* the job itself goes on */
            ms_report_clear(&client->report);
            (void)fprintf(stderr, "msaas: job %s goes on; \"msaas rm %s\" cancels it\n", id, id);
        }
    }
    if (job.document != NULL && client->json)
        ms_client_print_json(job.document);
    else if (rc == 0)
        (void)puts(job.id);
    (void)fflush(stdout);
    bool damaged = false; /* a failure, as in `msaas separate` */
    if (rc == 0 &&
        ms_json_bool(ms_json_get(ms_json_get(job.document, "receipt"), "damaged"), &damaged) &&
        damaged)
        rc = ms_error_set(err, MS_EINPUT, "is damaged; the stems hold what could be decoded of it");
    ms_client_job_fini(&job);
    if (rc != 0 && err->code != MS_ECANCELED && !ms_error_is_about(err, path))
        (void)ms_error_prefix(err, "%s", path);
    return rc;
}

static int run_submit(const struct ms_call *call) {
    struct ms_client client;
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_client_begin(&client, call, &exit_code))
        return exit_code;
    char *query = strdup("/apiv2/jobs");
    int rc = query != NULL ? 0 : ms_error_set(&err, MS_ENOMEM, "no memory for a URL");
    int count = ms_options_argument_count(client.options);
    if (rc == 0 && count == 0)
        rc = ms_error_set(&err, MS_EUSAGE, "name at least one file");
    if (rc == 0)
        rc = add_options(client.options, &query, &err);
    for (int i = 0; rc == 0 && i < count; i++) {
        rc = submit(&client, query, ms_options_argument(client.options, i), &err);
        if (rc == MS_EINPUT || rc == MS_ETOOLARGE) { /* an error of this song: the others go on */
            ms_report_failed(&client.report, ms_options_argument(client.options, i), &err);
            rc = 0;
        }
    }
    free(query);
    return ms_client_end(&client, call->argv[0], rc, &err);
}

static const enum ms_option_id option_ids[] = {
    MS_OPTION_TWO_STEMS,     MS_OPTION_STEMS, MS_OPTION_SHIFTS,  MS_OPTION_SEED,
    MS_OPTION_OVERLAP,       MS_OPTION_WAV,   MS_OPTION_MP3,     MS_OPTION_FLAC,
    MS_OPTION_OPUS,          MS_OPTION_M4A,   MS_OPTION_BITRATE, MS_OPTION_CLIP_MODE,
    MS_OPTION_SERVER,        MS_OPTION_TOKEN, MS_OPTION_WAIT,    MS_OPTION_JOB_MODEL,
    MS_OPTION_JOB_PRECISION, MS_OPTION_JSON,  MS_OPTION_QUIET,   MS_OPTION_COUNT};

const struct ms_command ms_cmd_submit = {
    .name = "submit",
    .summary = "send songs to a server",
    .usage = usage,
    .options = option_ids,
    .run = run_submit,
};
