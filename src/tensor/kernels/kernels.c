/* Which kernels: the best that the processor can run, or those that MSAAS_KERNELS names. Any
 * thread. */
#include "kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

extern const struct ms_kernels ms_kernels_plain;
#if defined(__x86_64__)
extern const struct ms_kernels ms_kernels_avx2, ms_kernels_avx512, ms_kernels_avx512_bf16;
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct ms_kernels *runnable[5]; /* the best first; the last one is NULL */
static const struct ms_kernels *chosen;

static void choose(void) {
    int count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl");
    if (avx512 && __builtin_cpu_supports("avx512bf16"))
        runnable[count++] = &ms_kernels_avx512_bf16;
    if (avx512)
        runnable[count++] = &ms_kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        runnable[count++] = &ms_kernels_avx2;
#endif
    runnable[count++] = &ms_kernels_plain;
    const char *name = getenv("MSAAS_KERNELS");
    for (int i = 0; i < count && chosen == NULL; i++)
        if (name == NULL || name[0] == '\0' || strcmp(runnable[i]->name, name) == 0)
            chosen = runnable[i];
}

const struct ms_kernels *const *ms_kernels_list(void) {
    (void)pthread_once(&once, choose);
    return runnable;
}

const struct ms_kernels *ms_kernels_find(const char *name) {
    for (const struct ms_kernels *const *k = ms_kernels_list(); *k != NULL; k++)
        if (strcmp((*k)->name, name) == 0)
            return *k;
    return NULL;
}

const struct ms_kernels *ms_kernels_get(void) {
    (void)pthread_once(&once, choose);
    return chosen;
}
