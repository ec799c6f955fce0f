/* Where an answer's bytes go that lie in a file or come from elsewhere: straight into the client's
 * socket, as many as it takes. On the pool, which has the socket meanwhile; nothing here waits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "exchange.h"

/* Counts what one call has sent. False: the client takes no more now. */
static bool has_sent(struct ms_http_outlet *outlet, ssize_t sent) {
    if (sent > 0) {
        outlet->sent += sent;
        outlet->left -= sent;
        return true;
    }
    outlet->gone = sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK;
    return false;
}

static size_t at_most(const struct ms_http_outlet *outlet, size_t size) {
    return (int64_t)size < outlet->left ? size : (size_t)outlet->left;
}

size_t ms_http_outlet_write(struct ms_http_outlet *outlet, const void *bytes, size_t size) {
    const int64_t before = outlet->sent;
    for (size_t most = at_most(outlet, size), done = 0; done < most;) {
        const ssize_t sent = send(outlet->socket, (const char *)bytes + done, most - done,
                                  MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (!has_sent(outlet, sent))
            break;
        done += (size_t)sent;
    }
    return (size_t)(outlet->sent - before);
}

int ms_http_outlet_file(struct ms_http_outlet *outlet, int fd, int64_t first, int64_t count,
                        int64_t *taken, struct ms_error *err) {
    off_t at = first;
    *taken = 0;
    while (*taken < count && outlet->left > 0) {
        const size_t most = at_most(outlet, (size_t)(count - *taken));
        const ssize_t sent = sendfile(outlet->socket, fd, &at, most);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent == 0)
            return ms_error_set(err, MS_ECORRUPT, "the file became shorter while it was sent");
        if (sent < 0 && errno == EIO)
            return ms_error_set(err, MS_EIO, "the file cannot be read: %s", strerror(errno));
        if (!has_sent(outlet, sent))
            break;
        *taken += sent;
    }
    return 0;
}

bool ms_http_outlet_is_gone(const struct ms_http_outlet *outlet) {
    return outlet->gone;
}
