/* Mapping of model files: whatever reads weights gets them from here. Owns the mapping; any thread.
 */
#include "mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int ms_mapped_open(struct ms_mapped *mapped, const char *path, int64_t max_bytes,
                   struct ms_error *err) {
    *mapped = (struct ms_mapped){0};
    const int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not waiting for a FIFO's writer */
    if (fd < 0)
        return ms_error_about(err, errno == ENOENT || errno == ENOTDIR ? MS_ENOTFOUND : MS_EIO,
                              path, "%s", strerror(errno));
    struct stat status;
    int rc = 0;
    if (fstat(fd, &status) != 0) {
        rc = ms_error_about(err, MS_EIO, path, "%s", strerror(errno));
        goto out;
    }
    if (!S_ISREG(status.st_mode)) {
        rc = ms_error_about(err, MS_EIO, path, "not a regular file");
        goto out;
    }
    if (status.st_size > max_bytes) {
        rc = ms_error_about(err, MS_ETOOLARGE, path, "%lld bytes are more than the %lld allowed",
                            (long long)status.st_size, (long long)max_bytes);
        goto out;
    }
    if (status.st_size == 0)
        goto out; /* nothing to map: mmap refuses a length of 0 */
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        rc = ms_error_about(err, MS_EIO, path, "cannot map: %s", strerror(errno));
        goto out;
    }
    (void)madvise(bytes, (size_t)status.st_size, MADV_WILLNEED);
    mapped->bytes = bytes;
    mapped->size = (size_t)status.st_size;
out:
    close(fd);
    return rc;
}

void ms_mapped_rest(const struct ms_mapped *mapped) {
    if (mapped->bytes != NULL)
        (void)madvise((void *)mapped->bytes, mapped->size, MADV_DONTNEED);
}

void ms_mapped_close(struct ms_mapped *mapped) {
    if (mapped->bytes != NULL)
        munmap((void *)mapped->bytes, mapped->size);
    *mapped = (struct ms_mapped){0};
}
