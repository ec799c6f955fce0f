/* A pool of threads that runs tasks in the order in which they were posted. Any thread may post. */
#ifndef MSAAS_TASKS_H
#define MSAAS_TASKS_H

#include "msaas/err.h"

struct ms_tasks;
/* max_waiting: how many tasks may wait for a thread. */
MS_MUST_CHECK int ms_tasks_new(int threads, int max_waiting, struct ms_tasks **out,
                               struct ms_error *err);
/* MS_ETOOLARGE: too many tasks are waiting. */
MS_MUST_CHECK int ms_tasks_post(struct ms_tasks *tasks, void (*run)(void *argument), void *argument,
                                struct ms_error *err);
/* Waits until all tasks have run, then ends the threads. */
void ms_tasks_free(struct ms_tasks *tasks);

#endif
