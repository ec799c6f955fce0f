/* See body.h. The loop says when bytes have come, a thread of the disk's pool moves them: neither
 * waits for the client, and the loop does not wait for the disk. */
#include "body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exchange.h"
#include "msaas/log.h"
#include "msaas/sys.h"
#include "server.h"

#define BLOCK_BYTES (64 << 10) /* read at once */
#define TURN_BYTES (4 << 20)

static void refuse(struct ms_body *body, int status, const char *reason) {
    body->status = status;
    body->reason = reason;
}

static void refuse_for_disk(struct ms_body *body, const char *scratch) {
    ms_log(MS_LOG_ERROR, "an upload cannot be written to %s: %s", scratch, strerror(errno));
    refuse(body, 503, "the server has no room for uploads now; try again later");
}

int ms_http_file_new(const struct ms_http_server *server) {
    char *path = ms_strdupf("%s/http-XXXXXX", server->options.scratch_dir);
    if (path == NULL) {
        errno = ENOMEM;
        return -1;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path);
    free(path);
    if (fd > server->highest_fd) { /* the kernel gives out the lowest free one */
        (void)close(fd);
        errno = EMFILE;
        fd = -1;
    }
    return fd;
}

bool ms_http_file_write(int fd, const char *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        const ssize_t some = write(fd, bytes + done, size - done);
        if (some < 0 && errno != EINTR)
            return false;
        done += some > 0 ? (size_t)some : 0;
    }
    return true;
}

static void keep(struct ms_http_server *server, struct ms_body *body, const char *data,
                 size_t size) {
    if (body->fd < 0)
        body->fd = ms_http_file_new(server);
    if (body->fd < 0 || !ms_http_file_write(body->fd, data, size)) {
        refuse_for_disk(body, server->options.scratch_dir);
        return;
    }
    body->bytes += (int64_t)size;
    body->counted_bytes += (int64_t)size;
    (void)atomic_fetch_add(&server->inflight_bytes, (int64_t)size);
}

/* How many bytes the file still takes, at most `size`. */
static size_t room(const struct ms_body *body, size_t size) {
    const int64_t left = body->piece_bytes - body->bytes;
    return body->piece_bytes > 0 && left < (int64_t)size ? (size_t)left : size;
}

/* Takes bytes of the body; returns how many: fewer than `size` where the body or a piece of it
 * ends. */
static size_t feed(struct ms_http_server *server, struct ms_body *body, const char *bytes,
                   size_t size) {
    size_t at = 0;
    while (at < size && !body->complete && !body->full && body->status == 0) {
        const char *data = bytes + at;
        const size_t most = room(body, size - at);
        size_t used, some;
        if (body->is_chunked) {
            const int end = ms_http_chunked_feed(&body->chunked, data, most, &used, &data, &some);
            if (end < 0) {
                refuse(body, 400, "the chunked body is malformed");
                break;
            }
            body->complete = end > 0;
        } else {
            used = some = (int64_t)most < body->left ? most : (size_t)body->left;
            body->left -= (int64_t)some;
            body->complete = body->left == 0;
        }
        at += used;
        body->taken += (int64_t)some;
        if (body->taken > body->most)
            refuse(body, 413, "the body is too large");
        else if (body->is_kept && some > 0)
            keep(server, body, data, some);
        body->full = room(body, 1) == 0;
    }
    return at;
}

static void feed_rest(struct ms_http_server *server, struct ms_body *body) {
    const size_t used = feed(server, body, body->rest, body->rest_bytes);
    body->rest_bytes -= used;
    if (body->rest_bytes > 0) {
        memmove(body->rest, body->rest + used, body->rest_bytes);
    } else {
        free(body->rest);
        body->rest = NULL;
    }
}

/* What was read behind the body is the beginning of the next request; behind a piece, of the next
 * piece. */
static void keep_rest(struct ms_body *body, const char *bytes, size_t size) {
    if (size == 0)
        return;
    body->rest = malloc(size);
    if (body->rest == NULL) {
        body->gone = true;
        return;
    }
    memcpy(body->rest, bytes, size);
    body->rest_bytes = size;
}

static void read_more(struct ms_exchange *e) {
    struct ms_http_server *server = e->server;
    struct ms_body *body = &e->body;
    char block[BLOCK_BYTES];
    for (size_t turn = 0;
         turn < TURN_BYTES && !body->complete && !body->full && body->status == 0;) {
        size_t most = sizeof block;
        if (body->is_chunked && most > server->options.max_header_bytes)
            most = server->options.max_header_bytes; /* for what follows the body */
        else if (!body->is_chunked && (int64_t)most > body->left)
            most = (size_t)body->left;
        most = room(body, most);
        body->crowded = body->is_kept && atomic_load(&server->inflight_bytes) + (int64_t)most >
                                             server->options.max_inflight_bytes;
        if (body->crowded)
            break;
        const ssize_t got = recv(e->socket, block, most, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (got <= 0) {
            body->gone = true;
            break;
        }
        turn += (size_t)got;
        const size_t used = feed(server, body, block, (size_t)got);
        if (used < (size_t)got && body->status == 0)
            keep_rest(body, block + used, (size_t)got - used);
    }
}

/* A page may end with the body: the file gets one byte more, which is 0. It is written, because to
 * touch a page that a full disk has no room for would end the process. */
bool ms_body_map(struct ms_http_server *server, struct ms_body *body) {
    const size_t size = (size_t)body->bytes + 1;
    void *map = MAP_FAILED;
    if (ms_http_file_write(body->fd, "", 1))
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, body->fd, 0);
    if (map == MAP_FAILED)
        refuse_for_disk(body, server->options.scratch_dir);
    else
        body->map = map;
    return map != MAP_FAILED;
}

static void unmap(struct ms_body *body) {
    if (body->map != NULL)
        (void)munmap(body->map, (size_t)body->bytes + 1);
    body->map = NULL;
}

void ms_body_empty(struct ms_http_server *server, struct ms_body *body) {
    unmap(body);
    if (body->fd >= 0 && (ftruncate(body->fd, 0) != 0 || lseek(body->fd, 0, SEEK_SET) != 0))
        refuse_for_disk(body, server->options.scratch_dir);
    ms_body_forget(server, body);
    body->bytes = 0;
    body->full = false;
}

void ms_body_take(void *user) {
    struct ms_exchange *e = user;
    struct ms_body *body = &e->body;
    if (body->rest_bytes > 0)
        feed_rest(e->server, body);
    read_more(e);
    if (body->complete && body->status == 0 && body->fd >= 0 && body->piece_bytes == 0)
        (void)ms_body_map(e->server, body);
    ms_server_give_back(e);
}

void ms_body_forget(struct ms_http_server *server, struct ms_body *body) {
    (void)atomic_fetch_sub(&server->inflight_bytes, body->counted_bytes);
    body->counted_bytes = 0;
}

void ms_body_free(struct ms_http_server *server, struct ms_body *body) {
    unmap(body);
    if (body->fd >= 0)
        (void)close(body->fd);
    ms_body_forget(server, body);
    free(body->rest);
    *body = (struct ms_body){.fd = -1};
}
