/* Downloads a file. Each attempt continues where the last one broke off. Owns the file while it
 * writes. On the thread of the caller. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/http_client.h"
#include "msaas/sys.h"
#include "msaas/url.h"

#define MAX_FRUITLESS_ATTEMPTS 4 /* attempts in a row that brought no byte */
#define MAX_ATTEMPTS 100

struct transfer {
    const struct ms_http_download *download;
    int fd;
    int64_t start;  /* where the bytes of this attempt begin */
    int64_t size;   /* of the file so far */
    int64_t wanted; /* of the whole file; 0: unknown */
    bool append;    /* the response is the part that was asked for, not the whole file */
    bool anew;      /* a whole file came: nothing of an earlier run is left */
    char etag[200]; /* strong tag of the version that this run began with */
};

static int disk_error(const struct transfer *transfer, struct ms_error *err) {
    return ms_error_about(err, MS_EIO, transfer->download->path, "%s", strerror(errno));
}

/* "bytes FIRST-LAST/TOTAL" */
static bool parse_range(const char *text, int64_t *first, int64_t *total) {
    static const char unit[] = "bytes ";
    if (text == NULL || strncmp(text, unit, strlen(unit)) != 0)
        return false;
    char *end;
    *first = strtoll(text + strlen(unit), &end,
                     10); /* the largest or smallest number if it does not fit */
    if (*end != '-')
        return false;
    const long long last = strtoll(end + 1, &end, 10);
    if (*end != '/')
        return false;
    *total = strtoll(end + 1, NULL, 10);
    return *first >= 0 && last >= *first && *total > last;
}

static int see_head(void *context, const struct ms_http_response *response, struct ms_error *err) {
    struct transfer *transfer = context;
    const char *etag = ms_http_response_header(response, "ETag");
    const char *length = ms_http_response_header(response, "Content-Length");
    int64_t first = 0;
    if (response->status == 206) {
        if (!parse_range(ms_http_response_header(response, "Content-Range"), &first,
                         &transfer->wanted) ||
            first != transfer->start)
            return ms_error_set(err, MS_ENET,
                                "the server sent a different part of the file than was asked for");
    } else if (response->status == 200) {
        transfer->wanted = length != NULL ? strtoll(length, NULL, 10) : 0;
        transfer->size = 0;
        transfer->anew = true;
        if (ftruncate(transfer->fd, 0) != 0)
            return disk_error(transfer, err);
    } else {
        return 0; /* an error page, which is ignored; the caller checks the status */
    }
    if (transfer->wanted > transfer->download->max_bytes)
        return ms_error_set(err, MS_ETOOLARGE, "the file has %lld bytes; at most %lld are allowed",
                            (long long)transfer->wanted, (long long)transfer->download->max_bytes);
    transfer->append = true;
    transfer->etag[0] = '\0';
    if (etag != NULL && etag[0] == '"' && strlen(etag) < sizeof transfer->etag)
        memcpy(transfer->etag, etag, strlen(etag) + 1);
    return 0;
}

static int take(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct transfer *transfer = context;
    if (!transfer->append)
        return 0;
    if (transfer->size + (int64_t)size > transfer->download->max_bytes)
        return ms_error_set(err, MS_ETOOLARGE, "the file is over %lld bytes",
                            (long long)transfer->download->max_bytes);
    for (size_t done = 0; done < size;) {
        const ssize_t some = pwrite(transfer->fd, (const char *)bytes + done, size - done,
                                    (off_t)(transfer->size + (int64_t)done));
        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return disk_error(transfer, err);
        done += (size_t)some;
    }
    transfer->size += (int64_t)size;
    if (transfer->download->progress != NULL)
        transfer->download->progress(transfer->download->context, transfer->size, transfer->wanted);
    return 0;
}

/* One attempt. 0: the file is complete. */
static int attempt(struct ms_http_client *client, struct transfer *transfer, struct ms_error *err) {
    const struct ms_http_download *download = transfer->download;
    const char *headers[3] = {NULL};
    transfer->start = transfer->size;
    transfer->append = false;
    char range[64];
    snprintf(range, sizeof range, "Range: bytes=%lld-", (long long)transfer->size);
    char if_range[sizeof transfer->etag + 16];
    snprintf(if_range, sizeof if_range, "If-Range: %s", transfer->etag);
    if (transfer->size > 0) {
        headers[0] = range;
        headers[1] = transfer->etag[0] != '\0' ? if_range : NULL;
    }
    struct ms_http_response response;
    int rc = ms_http_send(client,
                          &(struct ms_http_request){
                              .method = "GET",
                              .url = download->url,
                              .headers = headers,
                              .head = see_head,
                              .write = take,
                              .max_bytes = download->max_bytes,
                              .context = transfer,
                              .max_redirects = 5,
                              .cancel = download->cancel,
                          },
                          &response, err);
    if (rc != 0)
        return rc;
    char shown[300];
    ms_url_public(download->url, shown, sizeof shown);
    switch (response.status) {
    case 200:
    case 206:
        if (transfer->wanted != 0 && transfer->size != transfer->wanted)
            return ms_error_about(err, MS_ENET, shown, "the connection broke off");
        return 0;
    /* there is nothing after what we have: the digest that the caller checks tells whether it is
     * the whole file */
    case 416: return 0;
    case 401:
    case 403: return ms_error_about(err, MS_EDENIED, shown, "HTTP status %d", response.status);
    case 404:
    case 410: return ms_error_about(err, MS_ENOTFOUND, shown, "HTTP status %d", response.status);
    case 408:
    case 429: return ms_error_about(err, MS_ENET, shown, "HTTP status %d", response.status);
    default:
        return ms_error_about(err, response.status >= 500 ? MS_ENET : MS_EDENIED, shown,
                              "HTTP status %d", response.status);
    }
}

static void pause_before_retry(const struct ms_http_download *download, int fruitless) {
    const double until_s =
        ms_monotonic_s() + (fruitless == 0 ? 0.1 : 0.5 * (double)(1 << fruitless));
    while (ms_monotonic_s() < until_s &&
           !(download->cancel != NULL && atomic_load(download->cancel)))
        (void)poll(NULL, 0, 50);
}

int ms_http_download(struct ms_http_client *client, const struct ms_http_download *download,
                     bool *resumed, struct ms_error *err) {
    struct transfer transfer = {.download = download};
    int64_t begun = 0;
    int fruitless = 0;
    int rc = 0;
    *resumed = false;
    transfer.fd = open(download->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    struct stat st;
    if (transfer.fd < 0 || fstat(transfer.fd, &st) != 0) {
        rc = disk_error(&transfer, err);
        goto out;
    }
    if (st.st_size > download->max_bytes && ftruncate(transfer.fd, 0) != 0) {
        rc = disk_error(&transfer, err);
        goto out;
    }
    begun = transfer.size = st.st_size > download->max_bytes ? 0 : st.st_size;
    for (int i = 0; i < MAX_ATTEMPTS; i++) {
        const int64_t before = transfer.size;
        rc = attempt(client, &transfer, err);
        if (rc != MS_ENET)
            break;
        fruitless = transfer.size > before ? 0 : fruitless + 1;
        if (fruitless == MAX_FRUITLESS_ATTEMPTS)
            break;
        pause_before_retry(download, fruitless);
    }
    *resumed = begun > 0 && !transfer.anew;
    if (rc == 0 && fsync(transfer.fd) != 0)
        rc = disk_error(&transfer, err);
out:
    if (transfer.fd >= 0)
        close(transfer.fd);
    if (transfer.fd >= 0 && transfer.size == 0)
        unlink(download->path); /* nothing that can be continued */
    return rc;
}
