/* `msaas fetch`: a job's stems -> files. Each is written under a temporary name, checked against
 * the SHA-256 in the job, and renamed. Names come from the server, so none may leave the folder.
 * Main thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "msaas/cmd.h"
#include "msaas/digest.h"
#include "msaas/sys.h"

static const char usage[] =
    "Downloads the stems of finished jobs.\n"
    "\n"
    "Usage: msaas fetch [OPTIONS] ID...\n"
    "\n"
    "Examples:\n"
    "  msaas fetch $ID\n"
    "      separated/ID/{drums,bass,other,vocals}.mp3\n"
    "  msaas fetch --wait -o stems $ID\n"
    "      waits for the job; stems/drums.mp3 and so on\n"
    "  msaas fetch --flac $ID\n"
    "      separated/ID/drums.flac and so on, in whatever format the song was sent for\n"
    "\n"
    "Every file is checked, and gets its name only when it is complete. Without a format the\n"
    "stems come as the job has them.\n"
    "\n"
    "Exit code: 0 all files are there; 1 at least one is missing; 2 wrong usage; 130\n"
    "interrupted.\n";

#define MAX_STEM_BYTES (INT64_C(8) << 30)

struct stem {
    const char *name, *sha256; /* borrowed; sha256 NULL: not known */
    const char *format;
    int64_t bytes; /* < 0: not known */
};

struct download {
    const struct ms_client *client;
    const char *label;
    int fd;
    const char *path;
    struct ms_sha256 *digest;
    int64_t got, total;
    int status;
};

static int take(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct download *download = context;
    if (download->status != 200)
        return 0;
    for (size_t done = 0; done < size;) {
        ssize_t written = write(download->fd, (const char *)bytes + done, size - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return ms_error_about(err, MS_EIO, download->path, "%s", strerror(errno));
        done += (size_t)written;
    }
    ms_sha256_update(download->digest, bytes, size);
    download->got += (int64_t)size;
    if (download->total > 0) {
        double part = (double)download->got / (double)download->total;
        ms_report_bar((struct ms_report *)&download->client->report, part < 1 ? part : 1,
                      download->label, -1);
    }
    return 0;
}

static int note_status(void *context, const struct ms_http_response *response,
                       struct ms_error *err) {
    struct download *download = context;
    (void)err;
    download->status = response->status;
    return 0;
}

static int check(const struct download *download, const struct stem *stem, struct ms_error *err) {
    char hex[MS_SHA256_HEX];
    ms_sha256_hex(download->digest, hex);
    if ((stem->bytes >= 0 && download->got != stem->bytes) ||
        (stem->sha256 != NULL && strcmp(hex, stem->sha256) != 0))
        return ms_error_about(err, MS_ECORRUPT, stem->name,
                              "was damaged on the way: %lld bytes with SHA-256 %s; fetch it again",
                              (long long)download->got, hex);
    return 0;
}

static int receive(struct ms_client *client, const char *id, const struct stem *stem,
                   struct download *download, struct ms_error *err) {
    char *url =
        ms_strdupf("%s/apiv2/jobs/%s/stems/%s.%s", client->server, id, stem->name, stem->format);
    if (url == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    const struct ms_http_request request = {
        .method = "GET",
        .url = url,
        .head = note_status,
        .write = take,
        .max_bytes = stem->bytes >= 0 ? stem->bytes + (1 << 16) : MAX_STEM_BYTES,
        .context = download,
        .max_redirects = 3, /* to the S3 server, if msaas serve runs with --presign */
        .cancel = ms_cmd_interrupted(),
    };
    struct ms_http_response response;
    int rc = ms_client_unreachable(client, ms_client_send(client, request, &response, err), err);
    if (rc == 0 && response.status != 200) /* take() recorded the error */
        rc = ms_error_about(err, response.status == 404 ? MS_ENOTFOUND : MS_ECONFLICT, stem->name,
                            "the server answers with status %d", response.status);
    free(url);
    return rc == 0 ? check(download, stem, err) : rc;
}

static int fetch_stem(struct ms_client *client, const char *id, const struct stem *stem,
                      const char *folder, char **path, struct ms_error *err) {
    struct download download = {
        .client = client, .label = stem->name, .fd = -1, .total = stem->bytes};
    char *temporary = ms_strdupf("%s/.%s.%s.XXXXXX", folder, stem->name, stem->format);
    *path = ms_strdupf("%s/%s.%s", folder, stem->name, stem->format);
    int rc = 0;
    if (temporary == NULL || *path == NULL)
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a name");
    if (rc == 0)
        rc = ms_sha256_new(&download.digest, err);
    if (rc == 0) {
        download.path = *path;
        download.fd = mkostemp(temporary, O_CLOEXEC);
        if (download.fd < 0)
            rc = ms_error_about(err, MS_EIO, folder, "%s", strerror(errno));
    }
    if (rc == 0)
        rc = receive(client, id, stem, &download, err);
    if (rc == 0) {
        mode_t mask = umask(0);
        (void)umask(mask);
        if (fchmod(download.fd, 0666 & ~mask) != 0 || fsync(download.fd) != 0 ||
            rename(temporary, *path) != 0)
            rc = ms_error_about(err, MS_EIO, *path, "%s", strerror(errno));
    }
    if (rc != 0 && download.fd >= 0)
        (void)unlink(temporary);
    if (download.fd >= 0)
        (void)close(download.fd);
    ms_sha256_free(download.digest);
    free(temporary);
    return rc;
}

/* Whether the name may become a file name: letters, digits, '-' and '_'. */
static bool is_plain(const char *text, size_t max) {
    return text != NULL && text[0] != '\0' && strlen(text) <= max &&
           text[strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_")] ==
               '\0';
}

/* format: NULL: the job's own. What the job says of size and digest is true of its own. */
static int read_stem(const struct ms_client_job *job, const struct ms_json *node,
                     const char *format, struct stem *stem, struct ms_error *err) {
    const char *own = ms_json_string(ms_json_get(ms_json_get(job->document, "options"), "format"));
    *stem = (struct stem){
        .name = ms_json_string(ms_json_get(node, "name")),
        .format = format != NULL ? format : own,
        .bytes = -1,
    };
    if (own != NULL && strcmp(stem->format, own) == 0) {
        stem->sha256 = ms_json_string(ms_json_get(node, "sha256"));
        if (stem->sha256 != NULL && strlen(stem->sha256) != MS_SHA256_HEX - 1)
            stem->sha256 = NULL;
        (void)ms_json_int(ms_json_get(node, "bytes"), &stem->bytes);
    }
    if (!is_plain(stem->name, 48) || !is_plain(stem->format, 8))
        return ms_error_set(err, MS_ECORRUPT,
                            "the server sent a stem whose name cannot be a file name");
    return 0;
}

static int fetch_stems(struct ms_client *client, const struct ms_client_job *job,
                       const char *folder, struct ms_json_writer *writer, struct ms_error *err) {
    const struct ms_json *stems = ms_json_get(job->document, "stems");
    const char *format;
    int rc = ms_client_format(client->options, &format, err);
    if (rc == 0)
        rc = ms_make_dirs(folder, err);
    for (const struct ms_json *node = ms_json_first(stems); rc == 0 && node != NULL;
         node = ms_json_next(node)) {
        struct stem stem;
        char *path = NULL;
        rc = read_stem(job, node, format, &stem, err);
        if (rc == 0)
            rc = fetch_stem(client, job->id, &stem, folder, &path, err);
        ms_report_clear(&client->report);
        if (rc == 0) {
            ms_json_begin_object(writer, NULL);
            ms_json_put_string(writer, "name", stem.name);
            ms_json_put_string(writer, "path", path);
            ms_json_end_object(writer);
            if (!client->json && !client->report.quiet) {
                ms_cmd_print_plain(path, stdout);
                (void)putchar('\n');
            }
        }
        free(path);
    }
    return rc;
}

static int fetch_job(struct ms_client *client, const char *id, struct ms_error *err) {
    struct ms_client_job job = {0};
    const char *out = ms_options_string(client->options, MS_OPTION_FETCH_OUT);
    char *folder = out != NULL ? strdup(out) : ms_strdupf("separated/%s", id);
    struct ms_json_writer *writer = ms_json_writer_new();
    int rc = folder != NULL && writer != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory");
    if (rc != 0)
        goto out;
    rc = ms_options_flag(client->options, MS_OPTION_WAIT)
             ? ms_client_wait(client, id, &job, err)
             : ms_client_get_job(client, id, &job, err);
    if (rc != 0)
        goto out;
    if (strcmp(job.state, "queued") == 0 || strcmp(job.state, "running") == 0)
        rc = ms_error_set(err, MS_ECONFLICT, "job %s is %s, %d %% done: wait for it with --wait",
                          id, job.state, (int)(job.progress * 100));
    else if (strcmp(job.state, "succeeded") != 0)
        rc = ms_client_job_failed(&job, err);
    if (rc != 0)
        goto out;
    ms_json_begin_object(writer, NULL);
    ms_json_put_string(writer, "id", id);
    ms_json_begin_array(writer, "stems");
    rc = fetch_stems(client, &job, folder, writer, err);
    ms_json_end_array(writer);
    ms_json_end_object(writer);
    if (rc == 0 && client->json) {
        const char *text = ms_json_writer_text(writer, NULL);
        (void)puts(text != NULL ? text : "");
    }
out:
    ms_json_writer_free(writer);
    ms_client_job_fini(&job);
    free(folder);
    return rc;
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
    if (rc == 0 && count > 1 && ms_options_is_set(client.options, MS_OPTION_FETCH_OUT))
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

static const enum ms_option_id option_ids[] = {
    MS_OPTION_WAV,       MS_OPTION_MP3,    MS_OPTION_FLAC,  MS_OPTION_OPUS,
    MS_OPTION_M4A,       MS_OPTION_SERVER, MS_OPTION_TOKEN, MS_OPTION_WAIT,
    MS_OPTION_FETCH_OUT, MS_OPTION_JSON,   MS_OPTION_QUIET, MS_OPTION_COUNT};

const struct ms_command ms_cmd_fetch = {
    .name = "fetch",
    .summary = "download the stems of a job",
    .usage = usage,
    .options = option_ids,
    .run = run_fetch,
};
