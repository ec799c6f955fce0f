/* What the machine and its container allow, and helpers for files. Any thread. */
#ifndef MSAAS_SYS_H
#define MSAAS_SYS_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/err.h"

struct ms_limits {
    /* usable processors: affinity mask and CPU quota of the cgroup (v1 or v2), the smaller */
    double cpus;
    int64_t memory_bytes; /* physical memory or the cgroup's limit, the smaller */
    char cpu_name[96];    /* "AMD EPYC ..." */
};

/* root: "" for the real machine; tests name a folder with proc/ and sys/ of their own. */
void ms_limits_read(const char *root, struct ms_limits *out);

/* How many lanes the limits allow, at least 1. The process takes base_bytes of memory, and each
 * lane lane_bytes more. */
int ms_limits_lanes(const struct ms_limits *limits, int64_t base_bytes, int64_t lane_bytes);

double ms_monotonic_s(void);     /* seconds, CLOCK_MONOTONIC */
int64_t ms_unix_ms(void);        /* milliseconds of Unix time, CLOCK_REALTIME */
int64_t ms_peak_rss_bytes(void); /* of this process so far */

/* Gives memory that was freed back to the system, which free() does only with the end of the heap.
 * Takes milliseconds, in which other threads may have to wait for memory. */
void ms_memory_trim(void);

/* As mkdir -p: existing folders are fine. The error is about the folder. */
MS_MUST_CHECK int ms_make_dirs(const char *path, struct ms_error *err);

/* A newly allocated string, printf-like; NULL only when memory ran out. */
char *ms_strdupf(const char *fmt, ...) MS_PRINTF(1, 2);

/* The folder of the models: `chosen` (--models-dir, MSAAS_MODELS_DIR) if given, else
 * $XDG_DATA_HOME/msaas/models, else ~/.local/share/msaas/models. It need not exist. The caller
 * frees *out. */
MS_MUST_CHECK int ms_models_dir(const char *chosen, char **out, struct ms_error *err);

#endif
