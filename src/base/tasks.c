/* The pool of threads for work that blocks: Redis, S3, disk, so that the event loop does not. Owns the threads and a ring of
 * what waits. */
#include "msaas/tasks.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct task {
    void (*run)(void *argument);
    void *argument;
};

struct ms_tasks {
    pthread_mutex_t mutex; /* for all below */
    pthread_cond_t changed;
    struct task *ring; /* [capacity] */
    size_t capacity, first, count;
    bool ending;
    pthread_t *threads; /* [thread_count], those started */
    int thread_count;
};

static void *work(void *argument) {
    struct ms_tasks *tasks = argument;
    (void)pthread_mutex_lock(&tasks->mutex);
    for (;;) {
        if (tasks->count > 0) {
            const struct task task = tasks->ring[tasks->first];
            tasks->first = (tasks->first + 1) % tasks->capacity;
            tasks->count--;
            (void)pthread_mutex_unlock(&tasks->mutex);
            task.run(task.argument);
            (void)pthread_mutex_lock(&tasks->mutex);
        } else if (tasks->ending) {
            break;
        } else {
            (void)pthread_cond_wait(&tasks->changed, &tasks->mutex);
        }
    }
    (void)pthread_mutex_unlock(&tasks->mutex);
    return NULL;
}

int ms_tasks_new(int threads, int max_waiting, struct ms_tasks **out, struct ms_error *err) {
    sigset_t all, before;
    int rc = 0;
    *out = NULL;
    if (threads < 1 || max_waiting < 1)
        return ms_error_set(err, MS_EINTERNAL, "a pool of %d threads with room for %d tasks",
                            threads, max_waiting);
    struct ms_tasks *tasks = calloc(1, sizeof *tasks);
    if (tasks == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a pool of threads");
    (void)pthread_mutex_init(&tasks->mutex, NULL);
    (void)pthread_cond_init(&tasks->changed, NULL);
    tasks->capacity = (size_t)max_waiting;
    tasks->ring = calloc(tasks->capacity, sizeof *tasks->ring);
    tasks->threads = calloc((size_t)threads, sizeof *tasks->threads);
    if (tasks->ring == NULL || tasks->threads == NULL) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a pool of threads");
        goto out;
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (tasks->thread_count < threads) {
        const int failed = pthread_create(&tasks->threads[tasks->thread_count], NULL, work, tasks);
        if (failed != 0) {
            rc = ms_error_set(err, MS_ENOMEM, "thread %d of %d could not be started: %s",
                              tasks->thread_count + 1, threads, strerror(failed));
            break;
        }
        tasks->thread_count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        *out = tasks;
        tasks = NULL;
    }
out:
    ms_tasks_free(tasks);
    return rc;
}

int ms_tasks_post(struct ms_tasks *tasks, void (*run)(void *argument), void *argument,
                  struct ms_error *err) {
    int rc = 0;
    (void)pthread_mutex_lock(&tasks->mutex);
    if (tasks->ending) {
        rc = ms_error_set(err, MS_ECANCELED, "no more tasks: the program is stopping");
    } else if (tasks->count == tasks->capacity) {
        rc = ms_error_set(err, MS_ETOOLARGE, "%zu tasks wait already", tasks->count);
    } else {
        tasks->ring[(tasks->first + tasks->count) % tasks->capacity] =
            (struct task){.run = run, .argument = argument};
        tasks->count++;
        (void)pthread_cond_signal(&tasks->changed);
    }
    (void)pthread_mutex_unlock(&tasks->mutex);
    return rc;
}

void ms_tasks_free(struct ms_tasks *tasks) {
    if (tasks == NULL)
        return;
    (void)pthread_mutex_lock(&tasks->mutex);
    tasks->ending = true;
    (void)pthread_cond_broadcast(&tasks->changed);
    (void)pthread_mutex_unlock(&tasks->mutex);
    for (int i = 0; i < tasks->thread_count; i++)
        (void)pthread_join(tasks->threads[i], NULL);
    (void)pthread_cond_destroy(&tasks->changed);
    (void)pthread_mutex_destroy(&tasks->mutex);
    free(tasks->threads);
    free(tasks->ring);
    free(tasks);
}
