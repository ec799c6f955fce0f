/* A pool of threads that runs tasks in the order they came. Any thread may post, a running task too.
 * The threads take no signals. */
#ifndef MSAAS_TASKS_H
#define MSAAS_TASKS_H

#include "msaas/err.h"

struct ms_tasks;
/* At most max_waiting tasks wait beside those that run. */
MS_MUST_CHECK int ms_tasks_new(int threads, int max_waiting, struct ms_tasks **out,
                               struct ms_error *err);
/* Never waits. MS_ETOOLARGE: too many wait. MS_ECANCELED: the pool is being freed. */
MS_MUST_CHECK int ms_tasks_post(struct ms_tasks *tasks, void (*run)(void *argument), void *argument,
                                struct ms_error *err);
/* Waits for what runs and waits, then ends the threads. NULL is fine; not from a task. */
void ms_tasks_free(struct ms_tasks *tasks);

#endif
