/* How far this process's memory rises while a test does something. */
#ifndef MSAAS_TEST_PEAK_H
#define MSAAS_TEST_PEAK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

/* A field of /proc/self/status, such as "VmRSS:". */
static inline long peak_field_kib(const char *field) {
    FILE *file = fopen("/proc/self/status", "r");
    must(file != NULL);
    char line[200];
    long value = -1;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            value = strtol(line + strlen(field), NULL, 10);
    fclose(file);
    return value;
}

/* Begins anew: what the process needed before counts no more. What it needs now. */
static inline long peak_begin_kib(void) {
    FILE *reset = fopen("/proc/self/clear_refs", "w");
    must(reset != NULL);
    fputs("5", reset);
    fclose(reset);
    return peak_field_kib("VmRSS:");
}

/* The most that it needed since, beyond what it needed then. */
static inline long peak_growth_kib(long begin_kib) {
    return peak_field_kib("VmHWM:") - begin_kib;
}

#endif
