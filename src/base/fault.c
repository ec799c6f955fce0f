/* Where tests kill or hang the process. Owns the choice, which is made once at the start; any
 * thread comes to the points. */
#include "msaas/fault.h"

#ifdef MSAAS_FAULTS

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANG "hang@"

static char chosen[64];
static bool hangs;
static atomic_int left; /* times to come to the point until it strikes; 0: none is chosen */

void ms_fault_choose(const char *spec) {
    hangs = spec != NULL && strncmp(spec, HANG, strlen(HANG)) == 0;
    if (hangs)
        spec += strlen(HANG);
    const char *colon = spec != NULL ? strchr(spec, ':') : NULL;
    long times = colon != NULL ? strtol(colon + 1, NULL, 10) : 1;

    atomic_store(&left, 0);
    if (spec == NULL || times < 1 || times > 1000000)
        return;
    (void)snprintf(chosen, sizeof chosen, "%.*s",
                   colon != NULL ? (int)(colon - spec) : (int)strlen(spec), spec);
    atomic_store(&left, (int)times);
}

void ms_fault_choose_by_environment(void) {
    ms_fault_choose(getenv("MSAAS_FAULT"));
}

void ms_fault_point(const char *name) {
    if (atomic_load_explicit(&left, memory_order_relaxed) > 0 && strcmp(name, chosen) == 0 &&
        atomic_fetch_sub(&left, 1) == 1) {
        while (hangs)
            (void)poll(NULL, 0, -1);
        (void)raise(SIGKILL);
    }
}

#endif
