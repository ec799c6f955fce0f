/* Points at which tests kill or hang the process, to see that nothing is lost. They exist only in
 * builds with tests (MSAAS_FAULTS); elsewhere these functions do nothing. Any thread. */
#ifndef MSAAS_FAULT_H
#define MSAAS_FAULT_H

#ifdef MSAAS_FAULTS

/* "NAME": SIGKILL ends the process when it first comes to the point of that name; "NAME:N": when it
 * comes there for the Nth time; "hang@...": the thread stays there for ever instead. NULL: at none.
 * Call it before any thread that may come to a point is started. */
void ms_fault_choose(const char *spec);
/* Chooses what the environment's MSAAS_FAULT says. */
void ms_fault_choose_by_environment(void);
void ms_fault_point(const char *name);

#else

static inline void ms_fault_choose_by_environment(void) {
}
static inline void ms_fault_point(const char *name) {
    (void)name;
}

#endif
#endif
