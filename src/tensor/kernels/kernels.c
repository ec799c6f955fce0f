/* Which kernels: the best that the processor can run, or those that MSAAS_KERNELS names. Any thread. */
#include "kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

extern const struct ms_kernels ms_kernels_plain;
#if defined(__x86_64__)
extern const struct ms_kernels ms_kernels_avx2, ms_kernels_avx512, ms_kernels_avx512_bf16;
#endif

/* Those that this processor can run, the best first; returns how many. */
static int list(const struct ms_kernels *all[4]) {
    int count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl");
    if (avx512 && __builtin_cpu_supports("avx512bf16"))
        all[count++] = &ms_kernels_avx512_bf16;
    if (avx512)
        all[count++] = &ms_kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        all[count++] = &ms_kernels_avx2;
#endif
    all[count++] = &ms_kernels_plain;
    return count;
}

const struct ms_kernels *ms_kernels_find(const char *name) {
    const struct ms_kernels *all[4];
    const int count = list(all);
    for (int i = 0; i < count; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct ms_kernels *chosen;

static void choose(void) {
    const struct ms_kernels *all[4];
    (void)list(all);
    const char *name = getenv("MSAAS_KERNELS");
    chosen = name != NULL ? ms_kernels_find(name) : all[0];
    if (chosen == NULL)
        chosen = all[0];
}

const struct ms_kernels *ms_kernels_get(void) {
    (void)pthread_once(&once, choose);
    return chosen;
}
