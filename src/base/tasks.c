/* A pool of threads. Owns its threads and the ring of waiting tasks, all under one lock. */
#include "msaas/tasks.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "msaas/thread.h"

struct task {
    void (*run)(void *argument);
    void *argument;
};

struct ms_tasks {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct task *ring; /* [capacity] */
    size_t capacity, first, count;
    bool ending;
    int thread_count;
    pthread_t threads[];
};

static void *work(void *context) {
    struct ms_tasks *tasks = context;
    (void)pthread_mutex_lock(&tasks->lock);
    for (;;) {
        while (tasks->count == 0 && !tasks->ending)
            (void)pthread_cond_wait(&tasks->arrived, &tasks->lock);
        if (tasks->count == 0)
            break;
        const struct task task = tasks->ring[tasks->first];
        tasks->first = (tasks->first + 1) % tasks->capacity;
        tasks->count--;
        (void)pthread_mutex_unlock(&tasks->lock);
        task.run(task.argument);
        (void)pthread_mutex_lock(&tasks->lock);
    }
    (void)pthread_mutex_unlock(&tasks->lock);
    return NULL;
}

int ms_tasks_new(int threads, int max_waiting, struct ms_tasks **out, struct ms_error *err) {
    *out = NULL;
    if (threads < 1 || max_waiting < 1)
        return ms_error_set(err, MS_EUSAGE,
                            "a pool needs at least one thread and room for one task");
    struct ms_tasks *tasks = calloc(1, sizeof *tasks + (size_t)threads * sizeof tasks->threads[0]);
    if (tasks == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a pool of threads");
    tasks->capacity = (size_t)max_waiting;
    tasks->ring = calloc(tasks->capacity, sizeof *tasks->ring);
    (void)pthread_mutex_init(&tasks->lock, NULL);
    (void)pthread_cond_init(&tasks->arrived, NULL);
    while (tasks->ring != NULL && tasks->thread_count < threads &&
           ms_thread_start(&tasks->threads[tasks->thread_count], 0, work, tasks) == 0)
        tasks->thread_count++;
    if (tasks->thread_count < threads) {
        ms_tasks_free(tasks);
        return ms_error_set(err, MS_ENOMEM, "no memory for a pool of %d threads", threads);
    }
    *out = tasks;
    return 0;
}

int ms_tasks_post(struct ms_tasks *tasks, void (*run)(void *argument), void *argument,
                  struct ms_error *err) {
    (void)pthread_mutex_lock(&tasks->lock);
    bool full = tasks->count == tasks->capacity;
    if (!full) {
        tasks->ring[(tasks->first + tasks->count++) % tasks->capacity] =
            (struct task){run, argument};
        (void)pthread_cond_signal(&tasks->arrived);
    }
    (void)pthread_mutex_unlock(&tasks->lock);
    return full ? ms_error_set(err, MS_ETOOLARGE, "%zu tasks are waiting already", tasks->capacity)
                : 0;
}

void ms_tasks_free(struct ms_tasks *tasks) {
    if (tasks == NULL)
        return;
    (void)pthread_mutex_lock(&tasks->lock);
    tasks->ending = true;
    (void)pthread_cond_broadcast(&tasks->arrived);
    (void)pthread_mutex_unlock(&tasks->lock);
    for (int i = 0; i < tasks->thread_count; i++)
        (void)pthread_join(tasks->threads[i], NULL);
    (void)pthread_cond_destroy(&tasks->arrived);
    (void)pthread_mutex_destroy(&tasks->lock);
    free(tasks->ring);
    free(tasks);
}
