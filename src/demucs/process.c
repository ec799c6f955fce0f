/* The process that runs networks: an allocator that keeps its memory.
 * Before anything else in a subcommand, on the main thread. */
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "msaas/process.h"

/* Below M_TRIM_THRESHOLD, lest it go back to the kernel when it is freed. */
#define HUGE_PAGES_BYTES ((size_t)7 << 28)

/* Memory that goes back to the kernel costs page faults later. One heap serves all lanes, so that
 * one can use what another has freed. Activations lie in arenas of their own. */
static void keep_memory(void) {
    (void)mallopt(M_MMAP_MAX, 0);
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
    (void)mallopt(M_TOP_PAD, 16 << 20);
    (void)mallopt(M_ARENA_MAX, 1);
    /* Asks for room for the weights and a few lanes and frees it again, so that the kernel uses
     * huge pages there. The memory is not touched. Without huge pages or so much room nothing
     * changes. */
    char *room = malloc(HUGE_PAGES_BYTES);
    if (room == NULL)
        return;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    char *from = room + (page - (uintptr_t)room % page) % page;
    (void)madvise(from, HUGE_PAGES_BYTES - page, MADV_HUGEPAGE);
    free(room);
}

void ms_process_prepare(void) {
    keep_memory();
}
