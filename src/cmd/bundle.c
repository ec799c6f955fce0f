/* Finished stems -> a zip or standard output. Owns the folder in which they lie meanwhile. Main
 * thread. */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/cmd.h"
#include "msaas/file_name.h"
#include "msaas/sys.h"
#include "msaas/zip_writer.h"
#include "streams.h"

int ms_bundle_open(struct ms_bundle *bundle, const char *parent, struct ms_error *err) {
    char *folder = ms_strdupf("%s/.msaas-XXXXXX", parent);
    if (folder == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a name");
    if (mkdtemp(folder) == NULL) {
        free(folder);
        return ms_error_about(err, MS_EIO, parent, "%s", strerror(errno));
    }
    bundle->folder = folder;
    return 0;
}

int ms_bundle_place(const struct ms_bundle *bundle, const char *extension,
                    struct ms_pipeline_output *outputs, int count, struct ms_error *err) {
    for (int i = 0; i < count; i++) {
        outputs[i].path = ms_strdupf("%s/%s.%s", bundle->folder, outputs[i].label, extension);
        if (outputs[i].path == NULL)
            return ms_error_set(err, MS_ENOMEM, "no memory for a name");
    }
    return 0;
}

/* ---- bytes out ---- */

struct sink {
    int fd;
    const char *path;          /* NULL: standard output */
    const char *track;         /* in a zip: what its folder is called after */
    struct ms_zip_writer *zip; /* told what passes; NULL: none */
};

static int put(const struct sink *sink, const void *bytes, size_t size, struct ms_error *err) {
    const char *at = bytes;
    if (sink->path == NULL)
        return ms_streams_write(sink->fd, bytes, size, err);
    while (size > 0) {
        const ssize_t done = write(sink->fd, at, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return ms_error_about(err, MS_EIO, sink->path, "cannot be written: %s",
                                  strerror(done < 0 ? errno : ENOSPC));
        at += done;
        size -= (size_t)done;
    }
    return 0;
}

/* All of a file. */
static int put_file(const struct sink *sink, const char *path, struct ms_error *err) {
    char bytes[64 << 10];
    int rc = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t got = 1; rc == 0 && got != 0;) {
        got = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;
        if (got < 0 && errno != EINTR)
            rc = ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
        if (got > 0 && sink->zip != NULL)
            ms_zip_writer_add(sink->zip, bytes, (size_t)got);
        if (got > 0)
            rc = put(sink, bytes, (size_t)got, err);
        if (rc == 0 && atomic_load(ms_cmd_interrupted()))
            rc = ms_error_set(err, MS_ECANCELED, "interrupted");
    }
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

static int put_member(const struct sink *sink, const char *path, struct ms_error *err) {
    const void *bytes;
    size_t size;
    char song[MS_FILE_NAME_BYTES], name[MS_FILE_NAME_BYTES + MS_STEM_LABEL_BYTES + 10];
    ms_file_name(sink->track, song);
    (void)snprintf(name, sizeof name, "%s%s", song[0] != '\0' ? song : "song", strrchr(path, '/'));
    struct stat status;
    const int64_t length = stat(path, &status) == 0 ? status.st_size : -1;
    int rc = ms_zip_writer_begin(sink->zip, name, length, &bytes, &size, err);
    if (rc == 0)
        rc = put(sink, bytes, size, err);
    if (rc == 0)
        rc = put_file(sink, path, err);
    if (rc == 0)
        rc = ms_zip_writer_end(sink->zip, &bytes, &size, err);
    return rc == 0 ? put(sink, bytes, size, err) : rc;
}

/* The same stems give the same bytes, so their time is none. */
static int put_zip(struct sink *sink, const struct ms_pipeline_output *outputs, int count,
                   struct ms_error *err) {
    const void *bytes;
    size_t size;
    int rc = ms_zip_writer_new(0, &sink->zip, err);
    for (int i = 0; rc == 0 && i < count; i++)
        rc = put_member(sink, outputs[i].path, err);
    if (rc == 0)
        rc = ms_zip_writer_finish(sink->zip, &bytes, &size, err);
    if (rc == 0)
        rc = put(sink, bytes, size, err);
    ms_zip_writer_free(sink->zip);
    return rc;
}

/* Under a temporary name, beside the stems, until it is whole. */
static int write_zip(const struct ms_bundle *bundle, struct sink *sink,
                     const struct ms_pipeline_output *outputs, int count, struct ms_error *err) {
    char *temporary = ms_strdupf("%s/zip", bundle->folder);
    if (temporary == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a name");
    sink->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int rc = 0;
    if (sink->fd < 0)
        rc = ms_error_about(err, MS_EIO, sink->path, "cannot be written: %s", strerror(errno));
    else
        rc = put_zip(sink, outputs, count, err);
    if (sink->fd >= 0 && close(sink->fd) != 0 && rc == 0)
        rc = ms_error_about(err, MS_EIO, sink->path, "cannot be written: %s", strerror(errno));
    if (rc == 0 && rename(temporary, sink->path) != 0)
        rc = ms_error_about(err, MS_EIO, sink->path, "cannot be put in place: %s", strerror(errno));
    if (rc != 0)
        (void)unlink(temporary);
    free(temporary);
    return rc;
}

int ms_bundle_send(const struct ms_bundle *bundle, const struct ms_pipeline_output *outputs,
                   int count, const char *track, const char *path, struct ms_error *err) {
    const bool is_file = bundle->output < 0;
    struct sink sink = {.fd = bundle->output, .path = is_file ? path : NULL, .track = track};
    const int rc = is_file       ? write_zip(bundle, &sink, outputs, count, err)
                   : bundle->zip ? put_zip(&sink, outputs, count, err)
                                 : put_file(&sink, outputs[0].path, err);
    for (int i = 0; i < count; i++)
        (void)unlink(outputs[i].path);
    return rc;
}

void ms_bundle_close(struct ms_bundle *bundle) {
    if (bundle->folder != NULL)
        (void)rmdir(bundle->folder);
    free(bundle->folder);
    bundle->folder = NULL;
    if (bundle->output >= 0)
        (void)close(bundle->output);
    bundle->output = -1;
}
