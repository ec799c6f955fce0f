/* See download.h. Main thread. */
#include "download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/cmd.h"
#include "msaas/digest.h"
#include "msaas/sys.h"

#define MOST_BYTES (INT64_C(1) << 40) /* of what does not say how long it is */

struct transfer {
    struct ms_client *client;
    const struct ms_download *download;
    int fd;
    struct ms_sha256 *digest;
    int64_t got, total; /* total < 0: not known */
    int status;
    char problem[4096]; /* the body of another answer than 200 */
    size_t problem_bytes;
};

static int take(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct transfer *transfer = context;
    if (transfer->status != 200) {
        const size_t room = sizeof transfer->problem - transfer->problem_bytes;
        const size_t count = size < room ? size : room;
        memcpy(transfer->problem + transfer->problem_bytes, bytes, count);
        transfer->problem_bytes += count;
        return 0;
    }
    for (size_t done = 0; done < size;) {
        ssize_t written = write(transfer->fd, (const char *)bytes + done, size - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return ms_error_about(err, MS_EIO, transfer->download->file, "%s", strerror(errno));
        done += (size_t)written;
    }
    ms_sha256_update(transfer->digest, bytes, size);
    transfer->got += (int64_t)size;
    if (transfer->total > 0) {
        double part = (double)transfer->got / (double)transfer->total;
        ms_report_bar(&transfer->client->report, part < 1 ? part : 1, transfer->download->label,
                      -1);
    }
    return 0;
}

static int note_head(void *context, const struct ms_http_response *response, struct ms_error *err) {
    struct transfer *transfer = context;
    const char *length = ms_http_response_header(response, "Content-Length");
    (void)err;
    transfer->status = response->status;
    if (transfer->total < 0 && length != NULL)
        transfer->total = strtoll(length, NULL, 10);
    return 0;
}

static int check(const struct transfer *transfer, struct ms_error *err) {
    const struct ms_download *download = transfer->download;
    char hex[MS_SHA256_HEX];
    ms_sha256_hex(transfer->digest, hex);
    if ((download->bytes >= 0 && transfer->got != download->bytes) ||
        (download->sha256 != NULL && strcmp(hex, download->sha256) != 0))
        return ms_error_about(err, MS_ECORRUPT, download->label,
                              "was damaged on the way: %lld bytes with SHA-256 %s; fetch it again",
                              (long long)transfer->got, hex);
    return 0;
}

static int receive(struct transfer *transfer, struct ms_error *err) {
    struct ms_client *client = transfer->client;
    const struct ms_download *download = transfer->download;
    char *url = ms_strdupf("%s%s", client->server, download->path);
    if (url == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    const struct ms_http_request request = {
        .method = "GET",
        .url = url,
        .head = note_head,
        .write = take,
        .max_bytes = download->bytes >= 0 ? download->bytes + (1 << 16) : MOST_BYTES,
        .context = transfer,
        .stall_timeout_s = download->patience_s,
        .max_redirects = 3, /* to the S3 server, if msaas serve runs with --presign */
        .cancel = ms_cmd_interrupted(),
    };
    struct ms_http_response response;
    int rc = ms_client_unreachable(client, ms_client_send(client, request, &response, err), err);
    if (rc == 0 && response.status != 200) {
        rc = ms_client_refused(client, response.status, transfer->problem, transfer->problem_bytes,
                               err);
        (void)ms_error_prefix(err, "%s", download->label);
    }
    free(url);
    return rc == 0 ? check(transfer, err) : rc;
}

static int complete(struct transfer *transfer, const char *temporary, struct ms_error *err) {
    const char *file = transfer->download->file;
    mode_t mask = umask(0);
    (void)umask(mask);
    if (fchmod(transfer->fd, 0666 & ~mask) != 0 || fsync(transfer->fd) != 0 ||
        rename(temporary, file) != 0)
        return ms_error_about(err, MS_EIO, file, "%s", strerror(errno));
    return 0;
}

int ms_client_download(struct ms_client *client, const struct ms_download *download,
                       struct ms_error *err) {
    struct transfer transfer = {
        .client = client, .download = download, .fd = -1, .total = download->bytes};
    const bool to_stdout = strcmp(download->file, "-") == 0;
    const char *slash = strrchr(download->file, '/');
    const int folder = slash != NULL ? (int)(slash - download->file) + 1 : 0;
    char *temporary =
        ms_strdupf("%.*s.%.200s.XXXXXX", folder, download->file, download->file + folder);
    int rc = temporary != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a name");
    if (rc == 0)
        rc = ms_sha256_new(&transfer.digest, err);
    if (rc == 0) {
        transfer.fd = to_stdout ? STDOUT_FILENO : mkostemp(temporary, O_CLOEXEC);
        if (transfer.fd < 0)
            rc = ms_error_about(err, MS_EIO, download->file, "%s", strerror(errno));
    }
    if (rc == 0)
        rc = receive(&transfer, err);
    ms_report_clear(&client->report);
    if (rc == 0 && !to_stdout)
        rc = complete(&transfer, temporary, err);
    if (rc != 0 && transfer.fd >= 0 && !to_stdout)
        (void)unlink(temporary);
    if (transfer.fd >= 0 && !to_stdout)
        (void)close(transfer.fd);
    ms_sha256_free(transfer.digest);
    free(temporary);
    return rc;
}
