/* See resume.h. The upload's id is noted in a file whose name is made of server, token and song, so
 * that a later run finds it; how far it is, the server knows. Main thread. */
#include "resume.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/base64.h"
#include "msaas/cmd.h"
#include "msaas/digest.h"
#include "msaas/sys.h"
#include "msaas/upload.h"

#define PATIENCE_S 120
#define WAIT_MS 500 /* before the second attempt; doubled up to WAIT_MAX_MS */
#define WAIT_MAX_MS 10000
#define RESTARTS 3 /* uploads that vanished */
#define STALL_S 120

/* ---- the note ---- */

/* $XDG_STATE_HOME/msaas/uploads/DIGEST. Without a home there is no note: the upload cannot be found
 * again, but all else works. */
static int find_note(struct ms_resume *resume, struct ms_error *err) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    const char *authorization = resume->client->authorization;
    char *folder = NULL, *song = NULL, digest[MS_SHA256_HEX];
    struct stat status;
    if (state != NULL && state[0] == '/')
        folder = ms_strdupf("%s/msaas/uploads", state);
    else if (home != NULL && home[0] != '\0')
        folder = ms_strdupf("%s/.local/state/msaas/uploads", home);
    char *whole = realpath(resume->path, NULL);
    if (folder != NULL && whole != NULL && fstat(resume->fd, &status) == 0)
        song = ms_strdupf("%s\n%s\n%s\n%" PRId64 "\n%lld.%09ld", resume->client->server,
                          authorization != NULL ? authorization : "", whole, resume->bytes,
                          (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    int rc = 0;
    if (song != NULL && ms_make_dirs(folder, NULL) == 0) {
        rc = ms_sha256_of(song, strlen(song), digest, err);
        if (rc == 0)
            resume->note = ms_strdupf("%s/%s", folder, digest);
    }
    free(folder);
    free(whole);
    if (song != NULL)
        explicit_bzero(song, strlen(song)); /* the token is in it */
    free(song);
    return rc;
}

static void read_note(struct ms_resume *resume) {
    char id[MS_UPLOAD_ID_BYTES] = "";
    FILE *file = resume->note != NULL ? fopen(resume->note, "re") : NULL;
    if (file == NULL)
        return;
    if (fread(id, 1, sizeof id - 1, file) == sizeof id - 1 && ms_upload_id_is_valid(id))
        memcpy(resume->upload, id, sizeof id);
    (void)fclose(file);
}

/* Whole or not at all: another run may read it at any time, and this one may be killed. */
static void write_note(const struct ms_resume *resume) {
    char *temporary = resume->note != NULL ? ms_strdupf("%s-XXXXXX", resume->note) : NULL;
    const int fd = temporary != NULL ? mkostemp(temporary, O_CLOEXEC) : -1;
    if (fd >= 0) {
        const bool ok = dprintf(fd, "%s\n", resume->upload) > 0;
        if (close(fd) != 0 || !ok || rename(temporary, resume->note) != 0)
            (void)unlink(temporary);
    }
    free(temporary);
}

static void drop_note(struct ms_resume *resume) {
    if (resume->note != NULL)
        (void)unlink(resume->note);
    resume->upload[0] = '\0';
    resume->offset = 0;
}

/* ---- requests ---- */

/* Whether the answer says that it will not be better soon. */
static bool is_for_long(const struct ms_http_response *response) {
    const char *seconds = ms_http_response_header(response, "Retry-After");
    return seconds != NULL && strtoll(seconds, NULL, 10) > PATIENCE_S;
}

/* MS_ENOTFOUND: no such upload. MS_ENET: may be better later. */
static int ask(struct ms_resume *resume, struct ms_http_request request, const char *path,
               struct ms_http_response *response, struct ms_error *err) {
    char *url = ms_strdupf("%s/apiv2/uploads%s%s", resume->client->server,
                           path[0] != '\0' ? "/" : "", path);
    if (url == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a URL");
    request.url = url;
    request.cancel = ms_cmd_interrupted();
    int rc = ms_client_unreachable(resume->client,
                                   ms_client_send(resume->client, request, response, err), err);
    free(url);
    if (rc != 0 || (response->status >= 200 && response->status <= 299))
        return rc;
    rc = ms_client_refused(resume->client, response->status, response->body, response->body_bytes,
                           err);
    switch (response->status) {
    case 404:
    case 405:
    case 410: return err->code = MS_ENOTFOUND;
    case 408:
    case 409:
    case 423: return err->code = MS_ENET;
    case 429: return err->code = is_for_long(response) ? MS_EQUOTA : MS_ENET;
    default: return response->status >= 500 ? (err->code = MS_ENET) : rc;
    }
}

static int read_offset(struct ms_resume *resume, const struct ms_http_response *response,
                       struct ms_error *err) {
    const char *text = ms_http_response_header(response, "Upload-Offset");
    char *end;
    const int64_t offset = text != NULL ? strtoll(text, &end, 10) : -1;
    if (text == NULL || end == text || offset < 0 || offset > resume->bytes)
        return ms_error_set(err, MS_ECORRUPT,
                            "the server does not say how far the upload of the song is");
    resume->offset = offset;
    return 0;
}

static int begin(struct ms_resume *resume, struct ms_error *err) {
    char length[48];
    char *name = resume->name != NULL ? ms_base64_encode(resume->name, strlen(resume->name)) : NULL;
    char *metadata = name != NULL ? ms_strdupf("Upload-Metadata: filename %s", name) : NULL;
    (void)snprintf(length, sizeof length, "Upload-Length: %" PRId64, resume->bytes);
    const char *const headers[] = {"Tus-Resumable: 1.0.0", length, metadata, NULL};
    struct ms_http_response response;
    int rc = ask(resume, (struct ms_http_request){.method = "POST", .headers = headers}, "",
                 &response, err);
    if (rc == MS_ENOTFOUND)
        rc = err->code = MS_EUNSUPPORTED;
    const char *location = rc == 0 ? ms_http_response_header(&response, "Location") : NULL;
    const char *id = location != NULL ? strrchr(location, '/') : NULL;
    if (rc == 0 && (id == NULL || !ms_upload_id_is_valid(id + 1)))
        rc = ms_error_set(err, MS_ECORRUPT, "the server does not say where to send the song");
    if (rc == 0) {
        memcpy(resume->upload, id + 1, sizeof resume->upload);
        resume->offset = 0;
        write_note(resume);
    }
    free(name);
    free(metadata);
    return rc;
}

static int look(struct ms_resume *resume, struct ms_error *err) {
    static const char *const headers[] = {"Tus-Resumable: 1.0.0", NULL};
    struct ms_http_response response;
    const int rc = ask(resume, (struct ms_http_request){.method = "HEAD", .headers = headers},
                       resume->upload, &response, err);
    return rc == 0 ? read_offset(resume, &response, err) : rc;
}

static int read_song(void *context, void *buffer, size_t capacity, size_t *size,
                     struct ms_error *err) {
    struct ms_resume *resume = context;
    ssize_t got;
    do {
        got = pread(resume->fd, buffer, capacity, resume->sent);
    } while (got < 0 && errno == EINTR);
    if (got <= 0)
        return ms_error_about(err, MS_EIO, resume->path, "%s",
                              got < 0 ? strerror(errno) : "became shorter while it was being sent");
    *size = (size_t)got;
    resume->sent += got;
    if (resume->sent < resume->bytes) /* after the last byte, the server works */
        ms_report_bar(&resume->client->report, (double)resume->sent / (double)resume->bytes,
                      "sending", -1);
    return 0;
}

static bool rewind_song(void *context) {
    struct ms_resume *resume = context;
    resume->sent = resume->offset;
    return true;
}

static int patch(struct ms_resume *resume, struct ms_error *err) {
    char offset[48];
    (void)snprintf(offset, sizeof offset, "Upload-Offset: %" PRId64, resume->offset);
    const char *const headers[] = {"Tus-Resumable: 1.0.0",
                                   "Content-Type: application/offset+octet-stream", offset, NULL};
    struct ms_http_response response;
    resume->sent = resume->offset;
    const int rc = ask(resume,
                       (struct ms_http_request){.method = "PATCH",
                                                .headers = headers,
                                                .read = read_song,
                                                .rewind = rewind_song,
                                                .body_bytes = resume->bytes - resume->offset,
                                                .context = resume,
                                                .stall_timeout_s = STALL_S},
                       resume->upload, &response, err);
    return rc == 0 ? read_offset(resume, &response, err) : rc;
}

/* ---- the whole ---- */

static int step(struct ms_resume *resume, struct ms_error *err) {
    int rc = resume->upload[0] != '\0' ? look(resume, err) : begin(resume, err);
    return rc == 0 && resume->offset < resume->bytes ? patch(resume, err) : rc;
}

int ms_resume_send(struct ms_resume *resume, struct ms_error *err) {
    int rc = find_note(resume, err);
    if (rc != 0)
        return rc;
    read_note(resume);
    double heard_s = ms_monotonic_s();
    int64_t reached = 0;
    int wait_ms = WAIT_MS;
    for (int restarts = 0;;) {
        rc = step(resume, err);
        if (rc == 0 && resume->offset == resume->bytes)
            break;
        if (rc == MS_ENOTFOUND && restarts++ < RESTARTS) {
            drop_note(resume);
            reached = 0;
            continue;
        }
        if (resume->offset > reached) {
            reached = resume->offset;
            heard_s = ms_monotonic_s();
            wait_ms = WAIT_MS;
        }
        if ((rc != 0 && rc != MS_ENET) || ms_monotonic_s() - heard_s > PATIENCE_S)
            break;
        if (ms_cmd_wait_interrupted(wait_ms)) {
            rc = ms_error_set(err, MS_ECANCELED, "interrupted");
            break;
        }
        wait_ms = 2 * wait_ms < WAIT_MAX_MS ? 2 * wait_ms : WAIT_MAX_MS;
    }
    ms_report_clear(&resume->client->report);
    return rc;
}

void ms_resume_forget(struct ms_resume *resume) {
    static const char *const headers[] = {"Tus-Resumable: 1.0.0", NULL};
    struct ms_http_response response;
    struct ms_error unused = {0};
    if (resume->upload[0] != '\0')
        (void)!ask(resume, (struct ms_http_request){.method = "DELETE", .headers = headers},
                   resume->upload, &response, &unused);
    drop_note(resume);
}

void ms_resume_end(struct ms_resume *resume) {
    free(resume->note);
    resume->note = NULL;
}
