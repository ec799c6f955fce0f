/* Blocks lie one behind the other from the arena's first byte to its last; each begins with a
 * header, and so do those from the heap, which belong to no arena. */
#include "arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

/* A header fills the line before its block's data. */
struct block {
    _Alignas(MS_ARENA_ALIGNMENT) struct ms_arena *arena; /* NULL: from the heap */
    struct block *before, *after; /* neighbours in memory; NULL at the ends */
    size_t bytes;                 /* of data; a multiple of the alignment */
    bool used;
};
_Static_assert(sizeof(struct block) == MS_ARENA_ALIGNMENT, "one line");

struct ms_arena {
    _Alignas(MS_ARENA_ALIGNMENT) size_t bytes; /* of the whole mapping */
    struct block *first;
};

struct ms_arena *ms_arena_new(size_t bytes) {
    bytes -= bytes % MS_ARENA_ALIGNMENT;
    if (bytes < sizeof(struct ms_arena) + 2 * sizeof(struct block))
        return NULL;
    struct ms_arena *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED)
        return NULL;
    (void)madvise(arena, bytes, MADV_HUGEPAGE); /* where there are none: slower, but right */
    arena->bytes = bytes;
    arena->first = (struct block *)(arena + 1);
    *arena->first = (struct block){
        .arena = arena,
        .bytes = bytes - sizeof *arena - sizeof(struct block),
    };
    ASAN_POISON_MEMORY_REGION(arena->first + 1, arena->first->bytes);
    return arena;
}

void ms_arena_delete(struct ms_arena *arena) {
    if (arena == NULL)
        return;
    ASAN_UNPOISON_MEMORY_REGION(arena, arena->bytes);
    (void)munmap(arena, arena->bytes);
}

/* Cuts off what a block has beyond the bytes asked for, where that is room for another one. */
static void split(struct block *block, size_t bytes) {
    if (block->bytes - bytes < 2 * sizeof(struct block))
        return;
    struct block *rest = (struct block *)((char *)(block + 1) + bytes);
    ASAN_UNPOISON_MEMORY_REGION(rest, sizeof *rest);
    *rest = (struct block){
        .arena = block->arena,
        .before = block,
        .after = block->after,
        .bytes = block->bytes - bytes - sizeof *rest,
    };
    if (rest->after != NULL)
        rest->after->before = rest;
    block->after = rest;
    block->bytes = bytes;
}

static struct block *take(struct ms_arena *arena, size_t bytes) {
    for (struct block *block = arena->first; block != NULL; block = block->after) {
        if (block->used || block->bytes < bytes)
            continue;
        split(block, bytes);
        block->used = true;
        return block;
    }
    return NULL;
}

void *ms_arena_alloc(struct ms_arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2)
        return NULL;
    const size_t rounded =
        (bytes + MS_ARENA_ALIGNMENT - 1) / MS_ARENA_ALIGNMENT * MS_ARENA_ALIGNMENT;
    struct block *block = arena != NULL ? take(arena, rounded) : NULL;
    if (block != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(block + 1, bytes);
        return block + 1;
    }
    block = aligned_alloc(MS_ARENA_ALIGNMENT, sizeof *block + rounded);
    if (block == NULL)
        return NULL;
    block->arena = NULL;
    return block + 1;
}

/* Both free: the latter becomes a part of the former. */
static void join(struct block *former, struct block *latter) {
    former->bytes += sizeof *latter + latter->bytes;
    former->after = latter->after;
    if (former->after != NULL)
        former->after->before = former;
    ASAN_POISON_MEMORY_REGION(latter, sizeof *latter);
}

void ms_arena_free(void *data) {
    if (data == NULL)
        return;
    struct block *block = (struct block *)data - 1;
    if (block->arena == NULL) {
        free(block);
        return;
    }
    block->used = false;
    ASAN_POISON_MEMORY_REGION(data, block->bytes);
    if (block->after != NULL && !block->after->used)
        join(block, block->after);
    if (block->before != NULL && !block->before->used)
        join(block->before, block);
}
