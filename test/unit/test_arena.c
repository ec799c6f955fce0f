/* The lanes' memory: blocks that do not touch each other, the same places again, no room lost. */
#include "arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ARENA_BYTES ((size_t)1 << 20)
#define BLOCKS 64

static int make(void **state) {
    *state = ms_arena_new(ARENA_BYTES);
    return *state == NULL;
}

static int drop(void **state) {
    ms_arena_delete(*state);
    return 0;
}

/* A generator of its own: the same run every time. */
static uint32_t random_number(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void blocks_keep_what_is_written(void **state) {
    struct {
        unsigned char *data;
        size_t bytes;
    } blocks[BLOCKS] = {0};
    uint32_t seed = 1;
    for (int step = 0; step < 20000; step++) {
        const size_t i = random_number(&seed) % BLOCKS;
        if (blocks[i].data != NULL) {
            for (size_t k = 0; k < blocks[i].bytes; k++)
                assert_int_equal(blocks[i].data[k], i);
            ms_arena_free(blocks[i].data);
            blocks[i].data = NULL;
            continue;
        }
        blocks[i].bytes = random_number(&seed) % 5000;
        blocks[i].data = ms_arena_alloc(*state, blocks[i].bytes);
        assert_non_null(blocks[i].data);
        assert_int_equal((uintptr_t)blocks[i].data % MS_ARENA_ALIGNMENT, 0);
        memset(blocks[i].data, (int)i, blocks[i].bytes);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        ms_arena_free(blocks[i].data);
}

static void the_same_calls_give_the_same_places(void **state) {
    void *first[BLOCKS], *again[BLOCKS];
    for (int run = 0; run < 3; run++) {
        void **blocks = run == 0 ? first : again;
        uint32_t seed = 2;
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = ms_arena_alloc(*state, random_number(&seed) % 9000);
            assert_non_null(blocks[i]);
            if (i % 3 == 2) {
                ms_arena_free(blocks[i - 1]);
                blocks[i - 1] = NULL;
            }
        }
        if (run > 0)
            assert_memory_equal(first, again, sizeof first);
        /* Whatever the order in which they go. */
        for (int i = 0; i < BLOCKS; i++)
            ms_arena_free(blocks[run % 2 == 0 ? i : BLOCKS - 1 - i]);
    }
}

static bool is_inside(const void *block, const struct ms_arena *arena) {
    const uintptr_t at = (uintptr_t)block, from = (uintptr_t)arena;
    return at > from && at < from + ARENA_BYTES;
}

static void free_neighbours_become_one(void **state) {
    const size_t most = ARENA_BYTES - 2 * (size_t)MS_ARENA_ALIGNMENT;
    for (int order = 0; order < 2; order++) {
        void *a = ms_arena_alloc(*state, 1000), *b = ms_arena_alloc(*state, 1000),
             *c = ms_arena_alloc(*state, 1000);
        assert_true(is_inside(c, *state));
        ms_arena_free(order == 0 ? a : c);
        ms_arena_free(order == 0 ? c : a);
        ms_arena_free(b);
        void *all = ms_arena_alloc(*state, most);
        assert_true(is_inside(all, *state));
        ms_arena_free(all);
    }
}

static void what_does_not_fit_comes_from_the_heap(void **state) {
    void *most = ms_arena_alloc(*state, ARENA_BYTES - 2 * (size_t)MS_ARENA_ALIGNMENT);
    assert_true(is_inside(most, *state));
    const size_t sizes[] = {0, 1, ARENA_BYTES, 10 * ARENA_BYTES};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *more = ms_arena_alloc(i % 2 == 0 ? *state : NULL, sizes[i]);
        assert_non_null(more);
        assert_false(is_inside(more, *state));
        assert_int_equal((uintptr_t)more % MS_ARENA_ALIGNMENT, 0);
        memset(more, 1, sizes[i]);
        ms_arena_free(more);
    }
    ms_arena_free(most);
}

static void what_is_not_to_be_had_is_refused(void **state) {
    assert_null(ms_arena_alloc(*state, SIZE_MAX));
    assert_null(ms_arena_alloc(*state, SIZE_MAX - 32));
    assert_null(ms_arena_new(0));
    assert_null(ms_arena_new(SIZE_MAX));
    ms_arena_free(NULL);
    ms_arena_delete(NULL);
}

int main(void) {
#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, make, drop)
    const struct CMUnitTest tests[] = {
        WITH_ARENA(blocks_keep_what_is_written),
        WITH_ARENA(the_same_calls_give_the_same_places),
        WITH_ARENA(free_neighbours_become_one),
        WITH_ARENA(what_does_not_fit_comes_from_the_heap),
        WITH_ARENA(what_is_not_to_be_had_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
