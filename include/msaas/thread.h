/* Threads that receive no signals, and waits that do not depend on the wall clock. */
#ifndef MSAAS_THREAD_H
#define MSAAS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Starts run(argument) on a new thread, which receives no signals: the main thread gets them.
 * stack_bytes: 0 for the default of the system. Returns 0 or a number of errno.h. */
int ms_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *argument),
                    void *argument);

/* Makes a condition for ms_cond_wait_until. Returns 0 or a number of errno.h. */
int ms_cond_init(pthread_cond_t *cond);

/* With the lock held: waits until the condition is signalled or ms_monotonic_s() reaches until_s;
 * false for the latter. It may also return early, so the caller checks again what it waits for. */
bool ms_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, double until_s);

#endif
