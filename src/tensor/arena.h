/* Memory for the activations of one lane: a forward pass asks for the same blocks in the same
 * order each time, so that from an arena of its own it gets them at the same places, whatever
 * other lanes do; in a heap that lanes share, the order between them is chance, and holes grow
 * with every hour of music.
 *
 * Address-ordered first fit; neighbours that are free become one. Nothing goes back to the
 * kernel before the end. Serves one thread at a time. */
#ifndef MSAAS_TENSOR_ARENA_H
#define MSAAS_TENSOR_ARENA_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As every tensor of libtorch. */
#define MS_ARENA_ALIGNMENT 64

struct ms_arena;

/* Reserves addresses, no memory: bytes may be far more than will be used. In huge pages where
 * the kernel has them. NULL: the addresses are not to be had. */
struct ms_arena *ms_arena_new(size_t bytes);
/* Every block must be free. NULL is fine. */
void ms_arena_delete(struct ms_arena *arena);

/* Not cleared; aligned to MS_ARENA_ALIGNMENT. From the heap where the arena is NULL or full.
 * NULL: no memory. */
void *ms_arena_alloc(struct ms_arena *arena, size_t bytes);
/* Back to where it came from. NULL is fine. */
void ms_arena_free(void *data);

#ifdef __cplusplus
}
#endif
#endif
