/* A pool of threads that runs tasks in the order they came. Any thread may post. */
#ifndef MSAAS_TASKS_H
#define MSAAS_TASKS_H

#include "msaas/err.h"

struct ms_tasks;
/* At most max_waiting tasks wait. */
MS_MUST_CHECK int ms_tasks_new(int threads, int max_waiting, struct ms_tasks **out,
                               struct ms_error *err);
/* MS_ETOOLARGE: too many wait. */
MS_MUST_CHECK int ms_tasks_post(struct ms_tasks *tasks, void (*run)(void *argument), void *argument,
                                struct ms_error *err);
/* Waits for what runs and waits, then ends the threads. */
void ms_tasks_free(struct ms_tasks *tasks);

#endif
