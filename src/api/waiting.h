/* The list of those who wait: read once for all who ask at about the same time, and shared by their
 * answers. */
#ifndef MSAAS_API_WAITING_H
#define MSAAS_API_WAITING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "msaas/err.h"
#include "msaas/queue.h"

struct ms_waiting; /* one list, as it was read */

struct ms_waiting_lists {
    pthread_mutex_t lock;
    pthread_cond_t read_ended;
    bool reading;
    int failures;
    struct ms_error failure; /* of the last reading that failed */
    struct ms_waiting *newest;
    /* Those that answers still hold, the newest first, and the bytes of all. Beyond most_bytes the
     * oldest are given up, never the newest. */
    struct ms_waiting *all;
    size_t bytes, most_bytes;
};

void ms_waiting_init(struct ms_waiting_lists *lists);
void ms_waiting_fini(struct ms_waiting_lists *lists); /* when all lists were given back */

/* The jobs that wait, or those of one owner ("": of none; NULL: all). A list that was read after
 * the call, if it is short; one of many jobs may be two seconds old. Waits for the thread that
 * reads, or reads on this queue. *out is given back by ms_waiting_give_back. Any thread. */
MS_MUST_CHECK int ms_waiting_get(struct ms_waiting_lists *lists, struct ms_queue *queue,
                                 const char *owner, struct ms_waiting **out, struct ms_error *err);
void ms_waiting_give_back(struct ms_waiting_lists *lists, struct ms_waiting *list);

/* Its size as the answer of GET /apiv1/queue. */
size_t ms_waiting_text_bytes(const struct ms_waiting *list);
/* A part of that answer, from this place on, at most `capacity` bytes. MS_ETOOLARGE: the list was
 * given up, because it was held for so long that newer ones needed its memory. */
MS_MUST_CHECK int ms_waiting_text(struct ms_waiting_lists *lists, const struct ms_waiting *list,
                                  size_t from, char *out, size_t capacity, size_t *size,
                                  struct ms_error *err);

#endif
