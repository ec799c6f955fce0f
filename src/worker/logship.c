/* Log lines on their way to the queue. Owns a ring of lines and a thread with a queue connection;
 * whoever logs only touches the ring. Nothing here logs, as the line would come back here. */
#include "msaas/logship.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/queue.h"
#include "msaas/sys.h"
#include "msaas/thread.h"
#include "outage.h"

#define LAST_WORDS_S 2.0
/* Between two pushes: what comes meanwhile goes together. A queue in a file has one lock for all
 * who write, and each push waits for the disk with it. */
#define PAUSE_S 0.1

struct ms_logship {
    struct ms_queue *queue;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t wake;
    char *lines[MS_LOGSHIP_LINES]; /* count of them from `first` on, wrapping round */
    int first, count;
    bool ending;
    double ending_s; /* since when */
};

void ms_logship_line(void *context, const char *line) {
    struct ms_logship *ship = context;
    char *copy = strdup(line);
    (void)pthread_mutex_lock(&ship->lock);
    if (copy != NULL && ship->count == MS_LOGSHIP_LINES) {
        free(ship->lines[ship->first]);
        ship->first = (ship->first + 1) % MS_LOGSHIP_LINES;
        ship->count--;
    }
    if (copy != NULL)
        ship->lines[(ship->first + ship->count++) % MS_LOGSHIP_LINES] = copy;
    if (ship->count == 1)
        (void)pthread_cond_signal(&ship->wake);
    (void)pthread_mutex_unlock(&ship->lock);
}

/* With the lock: waits for lines and hands all to the caller. 0: the end. */
static int take(struct ms_logship *ship, char *lines[MS_LOGSHIP_LINES]) {
    while (ship->count == 0 && !ship->ending)
        (void)pthread_cond_wait(&ship->wake, &ship->lock);
    const int count = ship->count;
    for (; ship->count > 0; ship->count--) {
        lines[count - ship->count] = ship->lines[ship->first];
        ship->first = (ship->first + 1) % MS_LOGSHIP_LINES;
    }
    return count;
}

/* With the lock. False: the end. */
static bool pause_for(struct ms_logship *ship, double seconds) {
    const double until_s = ms_monotonic_s() + seconds;
    while (!ship->ending)
        if (!ms_cond_wait_until(&ship->wake, &ship->lock, until_s))
            break;
    return !ship->ending;
}

static void *run(void *user) {
    struct ms_logship *ship = user;
    char *lines[MS_LOGSHIP_LINES];
    int count, rc = 0;
    (void)pthread_mutex_lock(&ship->lock);
    while ((count = take(ship, lines)) > 0) {
        /* A queue that works takes them all, however slow it or this machine is. */
        bool lost = rc != 0 && ship->ending && ms_monotonic_s() - ship->ending_s > LAST_WORDS_S;
        for (int failures = 0; !lost; failures++) {
            (void)pthread_mutex_unlock(&ship->lock);
            rc = ms_loglist_push(ship->queue, (const char *const *)lines, count, NULL);
            (void)pthread_mutex_lock(&ship->lock);
            if (rc == 0)
                break;
            /* Lines that the queue cannot take are not sent again. */
            lost = !ms_outage_may_end(rc) ||
                   !pause_for(ship, (double)ms_outage_pause_ms(failures) / 1000);
        }
        for (int i = 0; i < count; i++)
            free(lines[i]);
        (void)pause_for(ship, PAUSE_S);
    }
    (void)pthread_mutex_unlock(&ship->lock);
    return NULL;
}

int ms_logship_new(const char *queue_url, struct ms_logship **out, struct ms_error *err) {
    struct ms_logship *ship = calloc(1, sizeof *ship);
    *out = NULL;
    if (ship == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for shipping log lines");
    (void)pthread_mutex_init(&ship->lock, NULL);
    (void)ms_cond_init(&ship->wake);
    int rc = ms_queue_open(queue_url, &ship->queue, err);
    if (rc == 0) {
        ship->has_thread = ms_thread_start(&ship->thread, 0, run, ship) == 0;
        if (!ship->has_thread)
            rc = ms_error_set(err, MS_ENOMEM, "cannot start the thread that ships log lines");
    }
    if (rc != 0) {
        ms_logship_free(ship);
        return rc;
    }
    *out = ship;
    return 0;
}

void ms_logship_free(struct ms_logship *ship) {
    if (ship == NULL)
        return;
    if (ship->has_thread) {
        (void)pthread_mutex_lock(&ship->lock);
        ship->ending = true;
        ship->ending_s = ms_monotonic_s();
        (void)pthread_cond_signal(&ship->wake);
        (void)pthread_mutex_unlock(&ship->lock);
        (void)pthread_join(ship->thread, NULL);
    }
    for (int i = 0; i < ship->count; i++)
        free(ship->lines[(ship->first + i) % MS_LOGSHIP_LINES]);
    ms_queue_close(ship->queue);
    (void)pthread_cond_destroy(&ship->wake);
    (void)pthread_mutex_destroy(&ship->lock);
    free(ship);
}
