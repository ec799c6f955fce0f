/* The process that runs networks: an allocator that keeps its memory, and matrix kernels that fit the processor.
 * Before anything else in a subcommand, on the main thread. */
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "msaas/network.h"

/* Below M_TRIM_THRESHOLD, lest it go back to the kernel when it is freed. */
#define HUGE_PAGES_BYTES ((size_t)7 << 28)

/* OpenBLAS chooses its kernels while it is loaded; a release older than the processor falls back to those of twenty
 * years ago (sgemm at 12 instead of 190 GFLOPS), and only its environment variable, read at that moment, helps. Here: the
 * name, in its spelling, of kernels that use this processor's widest vectors; NULL: let it choose. */
static const char *fitting_core(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return __builtin_cpu_supports("avx512bf16") ? "Cooperlake" : "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "Haswell";
#endif
    return NULL;
}

static void choose_blas_kernels(void) {
    const char *fitting = fitting_core();
    if (fitting != NULL)
        (void)setenv("OPENBLAS_CORETYPE", fitting, 0); /* the user's own choice stands */
}

/* What kernels take for themselves during an operator comes and goes hundreds of times a second: given back to the kernel
 * each time, it would come back as page faults, which cost more than the arithmetic. One heap serves all lanes, so that
 * what one has freed another can use; their activations lie in arenas of their own. */
static void keep_memory(void) {
    (void)mallopt(M_MMAP_MAX, 0);
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
    (void)mallopt(M_TOP_PAD, 16 << 20);
    (void)mallopt(M_ARENA_MAX, 1);
    /* Room for the weights and a few lanes, asked for and given back, so that the kernel knows: huge pages there. Nothing of
     * it is touched; where the kernel has no such pages, or no such room, all goes on without. */
    char *room = malloc(HUGE_PAGES_BYTES);
    if (room == NULL)
        return;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    char *from = room + (page - (uintptr_t)room % page) % page;
    (void)madvise(from, HUGE_PAGES_BYTES - page, MADV_HUGEPAGE);
    free(room);
}

void ms_network_prepare_process(void) {
    choose_blas_kernels();
    keep_memory();
}
