/* Points at which tests kill the process, to see that nothing is lost. Nothing happens until one is
 * chosen. Any thread. */
#ifndef MSAAS_FAULT_H
#define MSAAS_FAULT_H

/* "NAME": the process ends by SIGKILL when it first comes to that point; "NAME:N": the Nth time;
 * "hang@...": the thread stays there for ever instead. NULL: at none. To be called before threads
 * that may come to one begin. */
void ms_fault_choose(const char *spec);

void ms_fault_point(const char *name);

#endif
