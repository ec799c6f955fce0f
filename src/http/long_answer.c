/* An answer in memory that is too large to wait there until its client reads: a file without a name
 * takes it, and a stream passes it on. On the handler's thread, which may wait for the disk. */
#include <stdlib.h>
#include <unistd.h>

#include "exchange.h"
#include "server.h"

struct long_answer {
    int fd;
    int64_t next, bytes;
};

static int pass_answer(void *context, struct ms_http_outlet *outlet, struct ms_error *err) {
    struct long_answer *answer = context;
    int64_t taken;
    const int rc = ms_http_outlet_file(outlet, answer->fd, answer->next,
                                       answer->bytes - answer->next, &taken, err);
    answer->next += taken;
    return rc;
}

static void close_answer(void *context) {
    struct long_answer *answer = context;
    (void)close(answer->fd);
    free(answer);
}

bool ms_exchange_answer_by_file(struct ms_exchange *exchange, const void *bytes, size_t size) {
    struct long_answer *answer = malloc(sizeof *answer);
    if (answer == NULL)
        return false;
    *answer =
        (struct long_answer){.fd = ms_http_file_new(exchange->server), .bytes = (int64_t)size};
    if (answer->fd < 0 || !ms_http_file_write(answer->fd, bytes, size)) {
        if (answer->fd >= 0)
            (void)close(answer->fd);
        free(answer);
        return false;
    }
    exchange->stream = (struct ms_http_stream){
        .length = answer->bytes, .pass = pass_answer, .close = close_answer, .context = answer};
    return true;
}
