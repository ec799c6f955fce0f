/* Standard input -> a file; stems -> standard output. Owns nothing but what it puts in the place of
 * the two. Main thread. */
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/cmd.h"
#include "msaas/sys.h"

const char *ms_streams_folder(void) {
    const char *folder = getenv("TMPDIR");
    return folder != NULL && folder[0] != '\0' ? folder : "/tmp";
}

static int write_all(int fd, const char *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        const ssize_t put = write(fd, bytes + done, size - done);
        if (put < 0 && errno != EINTR)
            return errno;
        if (put == 0)
            return ENOSPC;
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

static int copy_input(int to, struct ms_error *err) {
    char bytes[64 << 10];
    for (;;) {
        if (!ms_cmd_wait_ready(STDIN_FILENO, POLLIN))
            return ms_error_set(err, MS_ECANCELED, "interrupted");
        const ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return ms_error_set(err, MS_EIO, "standard input: %s", strerror(errno));
        const int cause = got > 0 ? write_all(to, bytes, (size_t)got) : 0;
        if (cause != 0)
            return ms_error_about(err, MS_EIO, ms_streams_folder(),
                                  "standard input is kept there: %s", strerror(cause));
    }
}

int ms_streams_keep_input(struct ms_error *err) {
    if (isatty(STDIN_FILENO))
        return ms_error_set(err, MS_EUSAGE,
                            "standard input is a terminal; send the song through a pipe");
    char *name = ms_strdupf("%s/msaas-XXXXXX", ms_streams_folder());
    if (name == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a name");
    int rc = 0;
    const int file = mkostemp(name, O_CLOEXEC);
    if (file >= 0)
        (void)unlink(name);
    else
        rc = ms_error_about(err, MS_EIO, ms_streams_folder(), "standard input is kept there: %s",
                            strerror(errno));
    if (rc == 0)
        rc = copy_input(file, err);
    if (rc == 0 && dup2(file, STDIN_FILENO) < 0)
        rc = ms_error_set(err, MS_EIO, "standard input: %s", strerror(errno));
    if (file >= 0)
        (void)close(file);
    free(name);
    return rc;
}

int ms_streams_take_output(int *fd, struct ms_error *err) {
    if (isatty(STDOUT_FILENO))
        return ms_error_set(err, MS_EUSAGE,
                            "standard output is a terminal; send the stem into a file or a pipe");
    (void)fflush(stdout);
    *fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (*fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return ms_error_set(err, MS_EIO, "standard output: %s", strerror(errno));
    return 0;
}

int ms_streams_write(int fd, const void *bytes, size_t size, struct ms_error *err) {
    const char *at = bytes;
    while (size > 0) {
        /* A piece that fits into an empty pipe, so that write() does not wait for long. */
        const size_t piece = size < PIPE_BUF ? size : PIPE_BUF;
        if (!ms_cmd_wait_ready(fd, POLLOUT))
            return ms_error_set(err, MS_ECANCELED, "interrupted");
        const int cause = write_all(fd, at, piece);
        if (cause != 0)
            return ms_error_set(err, MS_EIO, "standard output: %s", strerror(cause));
        at += piece;
        size -= piece;
    }
    return 0;
}
