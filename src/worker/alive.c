/* See alive.h. */
#include "alive.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "msaas/sys.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ms_alive *first; /* of this process */

void ms_alive_allow(struct ms_alive *alive, double allow_s) {
    (void)pthread_mutex_lock(&lock);
    alive->until_s = ms_monotonic_s() + allow_s;
    (void)pthread_mutex_unlock(&lock);
}

void ms_alive_begin(struct ms_alive *alive, struct ms_outage *queue, struct ms_outage *store,
                    double allow_s) {
    alive->outages[0] = queue;
    alive->outages[1] = store;
    ms_alive_allow(alive, allow_s);
    (void)pthread_mutex_lock(&lock);
    alive->next = first;
    first = alive;
    (void)pthread_mutex_unlock(&lock);
}

void ms_alive_end(struct ms_alive *alive) {
    (void)pthread_mutex_lock(&lock);
    for (struct ms_alive **at = &first; *at != NULL; at = &(*at)->next)
        if (*at == alive) {
            *at = alive->next;
            break;
        }
    (void)pthread_mutex_unlock(&lock);
}

void ms_alive_set_unready(struct ms_alive *alive, const char *why) {
    (void)pthread_mutex_lock(&lock);
    (void)snprintf(alive->unready, sizeof alive->unready, "%.*s", (int)sizeof alive->unready - 1,
                   why);
    (void)pthread_mutex_unlock(&lock);
}

bool ms_worker_is_alive(void) {
    const double now_s = ms_monotonic_s();
    (void)pthread_mutex_lock(&lock);
    bool alive = true;
    for (const struct ms_alive *each = first; each != NULL; each = each->next)
        alive = alive && now_s < each->until_s;
    (void)pthread_mutex_unlock(&lock);
    return alive;
}

/* "": it is ready: nothing that it does itself fails, and queue and store answered when they were
 * last asked: the queue every 2 s (chores.c), the store every 10 s (watch.c). */
static void find_reason(struct ms_alive *alive, char reason[MS_WORKER_REASON_BYTES]) {
    memcpy(reason, alive->unready, MS_WORKER_REASON_BYTES);
    for (size_t i = 0; reason[0] == '\0' && i < sizeof alive->outages / sizeof *alive->outages;
         i++) {
        char cause[MS_OUTAGE_CAUSE_BYTES];
        ms_outage_cause(alive->outages[i], cause);
        if (cause[0] != '\0')
            (void)snprintf(reason, MS_WORKER_REASON_BYTES, "%s fails: %.*s",
                           alive->outages[i]->what, MS_WORKER_REASON_BYTES - 40, cause);
    }
}

void ms_worker_why_unready(char reason[MS_WORKER_REASON_BYTES]) {
    (void)pthread_mutex_lock(&lock);
    (void)snprintf(reason, MS_WORKER_REASON_BYTES, "%s",
                   first == NULL ? "the worker has not begun yet" : "");
    for (struct ms_alive *each = first; each != NULL && reason[0] == '\0'; each = each->next)
        find_reason(each, reason);
    (void)pthread_mutex_unlock(&lock);
}
