/* Between separate and encode: float stems wait on disk until their peak is known. Owns an unlinked
 * file that holds blocks of BLOCK_FRAMES, each one plane after the other, the last one shorter; and
 * one block in memory. */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/sys.h"

#define BLOCK_FRAMES ((size_t)65536)

struct ms_spool {
    int file;
    char *folder;
    float *block[MS_AUDIO_CHANNELS]; /* [BLOCK_FRAMES] each */
    size_t filled;                   /* frames in block that are not yet written */
    int64_t frames, left;            /* written in all; not yet read */
    off_t at;
    float peak;
};

static int fail(const struct ms_spool *spool, int cause, struct ms_error *err) {
    return ms_error_about(err, MS_EIO, spool->folder, "temporary file: %s", strerror(cause));
}

int ms_spool_new(const char *folder, struct ms_spool **out, struct ms_error *err) {
    *out = NULL;
    char *name = ms_strdupf("%s/.msaas-spool-XXXXXX", folder);
    struct ms_spool *made = calloc(1, sizeof *made);
    if (made != NULL) {
        made->file = -1;
        made->folder = strdup(folder);
        for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
            made->block[c] = malloc(BLOCK_FRAMES * sizeof(float));
    }
    int rc = 0;
    if (name == NULL || made == NULL || made->folder == NULL || made->block[0] == NULL ||
        made->block[1] == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a temporary file's buffers");
        goto out;
    }
    made->file = mkostemp(name, O_CLOEXEC);
    if (made->file < 0) {
        rc = fail(made, errno, err);
        goto out;
    }
    (void)unlink(name);
    *out = made;
    made = NULL;
out:
    free(name);
    ms_spool_free(made);
    return rc;
}

void ms_spool_free(struct ms_spool *spool) {
    if (spool == NULL)
        return;
    if (spool->file >= 0)
        (void)close(spool->file);
    free(spool->folder);
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
        free(spool->block[c]);
    free(spool);
}

float ms_spool_peak(const struct ms_spool *spool) {
    return spool->peak;
}

int ms_spool_reserve(struct ms_spool *spool, int64_t frames, int frame_bytes,
                     struct ms_error *err) {
    const int own_bytes = MS_AUDIO_CHANNELS * (int)sizeof(float);
    const off_t bytes = (off_t)frames * (frame_bytes > own_bytes ? frame_bytes : own_bytes);
    int rc;
    do
        rc = fallocate(spool->file, 0, 0, bytes);
    while (rc != 0 && errno == EINTR);
    /* Some file systems cannot promise space. */
    return rc == 0 || errno == EOPNOTSUPP || errno == ENOSYS ? 0 : fail(spool, errno, err);
}

static int put_plane(struct ms_spool *spool, const float *plane, size_t frames,
                     struct ms_error *err) {
    const char *bytes = (const char *)plane;
    for (size_t size = frames * sizeof *plane; size > 0;) {
        ssize_t done = pwrite(spool->file, bytes, size, spool->at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail(spool, done < 0 ? errno : ENOSPC, err);
        bytes += done;
        size -= (size_t)done;
        spool->at += done;
    }
    return 0;
}

static int put_block(struct ms_spool *spool, struct ms_error *err) {
    int rc = 0;
    for (int c = 0; rc == 0 && c < MS_AUDIO_CHANNELS; c++)
        rc = put_plane(spool, spool->block[c], spool->filled, err);
    spool->frames += (int64_t)spool->filled;
    spool->filled = 0;
    return rc;
}

int ms_spool_write(struct ms_spool *spool, const float *const planes[MS_AUDIO_CHANNELS],
                   size_t frames, struct ms_error *err) {
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
        for (size_t i = 0; i < frames; i++)
            spool->peak = fmaxf(spool->peak, fabsf(planes[c][i]));
    for (size_t at = 0; at < frames;) {
        size_t room = BLOCK_FRAMES - spool->filled, count = frames - at < room ? frames - at : room;
        for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
            memcpy(spool->block[c] + spool->filled, planes[c] + at, count * sizeof(float));
        spool->filled += count;
        at += count;
        int rc = spool->filled == BLOCK_FRAMES ? put_block(spool, err) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}

int ms_spool_rewind(struct ms_spool *spool, struct ms_error *err) {
    int rc = put_block(spool, err);
    if (rc == 0 && ftruncate(spool->file, spool->at) != 0)
        rc = fail(spool, errno, err);
    spool->left = spool->frames;
    spool->at = 0;
    return rc;
}

static int get_plane(struct ms_spool *spool, float *plane, size_t frames, struct ms_error *err) {
    char *bytes = (char *)plane;
    for (size_t size = frames * sizeof *plane; size > 0;) {
        ssize_t done = pread(spool->file, bytes, size, spool->at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail(spool, done < 0 ? errno : EIO, err);
        bytes += done;
        size -= (size_t)done;
        spool->at += done;
    }
    return 0;
}

int ms_spool_read(struct ms_spool *spool, float *planes[MS_AUDIO_CHANNELS], size_t *frames,
                  struct ms_error *err) {
    *frames = spool->left < (int64_t)BLOCK_FRAMES ? (size_t)spool->left : BLOCK_FRAMES;
    off_t before = spool->at;
    for (int c = 0; c < MS_AUDIO_CHANNELS; c++) {
        planes[c] = spool->block[c];
        int rc = get_plane(spool, planes[c], *frames, err);
        if (rc != 0)
            return rc;
    }
    spool->left -= (int64_t)*frames;
    /* It is not read again: its space goes to what is encoded from it. */
    (void)fallocate(spool->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, before,
                    spool->at - before);
    return 0;
}
