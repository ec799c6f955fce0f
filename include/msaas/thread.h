/* Threads that leave signals to others, and waits that no step of the wall clock can lengthen. */
#ifndef MSAAS_THREAD_H
#define MSAAS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Starts run(argument) on a thread that takes no signals: these are for the one thread that waits
   for them. stack_bytes: 0 for the system's default. 0, or pthread_create's number (errno.h). */
int ms_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *argument),
                    void *argument);

/* Makes a condition for ms_cond_wait_until. 0, or a number of errno.h. */
int ms_cond_init(pthread_cond_t *cond);

/* With the lock held: waits until the condition is signalled, by chance, or ms_monotonic_s() has
   reached until_s; false for the last. The caller looks again at what it waits for, whatever the
   answer. */
bool ms_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, double until_s);

#endif
