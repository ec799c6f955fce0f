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

/* Memory that goes back to the kernel comes back as page faults. One heap serves all lanes, so that
 * what one has freed another can use; their activations lie in arenas of their own. */
static void keep_memory(void) {
    (void)mallopt(M_MMAP_MAX, 0);
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
    (void)mallopt(M_TOP_PAD, 16 << 20);
    (void)mallopt(M_ARENA_MAX, 1);
    /* Room for the weights and a few lanes, asked for and given back, so that the kernel knows:
     * huge pages there. Nothing of it is touched; where the kernel has no such pages, or no such
     * room, all goes on without. */
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
