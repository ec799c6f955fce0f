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
    (void)pthread_cond_signal(&ship->wake);
    (void)pthread_mutex_unlock(&ship->lock);
}

/* With the lock: waits for a line and hands the oldest to the caller. NULL: the end. */
static char *take(struct ms_logship *ship) {
    while (ship->count == 0 && !ship->ending)
        (void)pthread_cond_wait(&ship->wake, &ship->lock);
    if (ship->count == 0)
        return NULL;
    char *line = ship->lines[ship->first];
    ship->first = (ship->first + 1) % MS_LOGSHIP_LINES;
    ship->count--;
    return line;
}

/* With the lock: waits for the next attempt. False: the end. */
static bool wait_to_retry(struct ms_logship *ship, int failures) {
    const double until_s = ms_monotonic_s() + (double)ms_outage_pause_ms(failures) / 1000;
    while (!ship->ending)
        if (!ms_cond_wait_until(&ship->wake, &ship->lock, until_s))
            break;
    return !ship->ending;
}

static void *run(void *user) {
    struct ms_logship *ship = user;
    (void)pthread_mutex_lock(&ship->lock);
    char *line;
    while ((line = take(ship)) != NULL) {
        bool lost = ship->ending && ms_monotonic_s() - ship->ending_s > LAST_WORDS_S;
        for (int failures = 0; !lost; failures++) {
            (void)pthread_mutex_unlock(&ship->lock);
            const int rc = ms_loglist_push(ship->queue, line, NULL);
            (void)pthread_mutex_lock(&ship->lock);
            if (rc == 0)
                break;
            /* A line that the queue refuses is not sent again. */
            lost = !ms_code_is_transient(rc) || !wait_to_retry(ship, failures);
        }
        free(line);
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
