/* What the tests of the store's contract stand on: bytes that arrive, files of random bytes. */
#include <dirent.h>

#include "contract.h"

int write_heap(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct heap *heap = context;
    if (heap->fail_at > 0 && heap->size + size >= heap->fail_at) {
        if (heap->cancel_then == NULL)
            return ms_error_set(err, MS_ETOOLARGE, "enough");
        atomic_store(heap->cancel_then, true);
    }
    if (heap->size + size + 1 > heap->capacity) {
        heap->capacity = 2 * (heap->size + size + 1);
        heap->bytes = realloc(heap->bytes, heap->capacity);
        assert_non_null(heap->bytes);
    }
    memcpy(heap->bytes + heap->size, bytes, size);
    heap->size += size;
    heap->bytes[heap->size] = '\0';
    return 0;
}

void write_file(const char *path, int64_t bytes, unsigned seed) {
    const size_t block_bytes = 1 << 16;
    uint32_t *block = malloc(block_bytes);
    FILE *file = fopen(path, "wb");
    uint64_t state = seed + 1;
    assert_non_null(block);
    assert_non_null(file);
    while (bytes > 0) {
        const size_t some = bytes < (int64_t)block_bytes ? (size_t)bytes : block_bytes;
        for (size_t i = 0; i < block_bytes / sizeof *block; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            block[i] = (uint32_t)(state >> 32);
        }
        assert_int_equal(fwrite(block, 1, some, file), some);
        bytes -= (int64_t)some;
    }
    assert_int_equal(fclose(file), 0);
    free(block);
}

char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    struct heap heap = {0};
    char block[1 << 14];
    size_t some;
    while ((some = fread(block, 1, sizeof block, file)) > 0)
        assert_int_equal(write_heap(&heap, block, some, NULL), 0);
    fclose(file);
    *size = heap.size;
    return heap.bytes;
}

int count_entries(const char *folder) {
    DIR *entries = opendir(folder);
    int count = -2; /* . and .. */
    assert_non_null(entries);
    while (readdir(entries) != NULL)
        count++;
    closedir(entries);
    return count;
}

int put_text(struct ms_store *store, const char *key, const char *text) {
    return ms_store_put(store, BUCKET, key,
                        &(struct ms_object_source){.bytes = text, .size = (int64_t)strlen(text)},
                        NULL, NULL);
}

void check_text(const char *key, const char *text) {
    struct heap heap = {0};
    struct ms_object_info info;
    expect(0, ms_store_get(world.store, BUCKET, key, 0, -1, write_heap, &heap, &info, &err));
    assert_int_equal(heap.size, strlen(text));
    assert_int_equal(info.bytes, strlen(text));
    if (text[0] != '\0')
        assert_string_equal(heap.bytes, text);
    free(heap.bytes);
}

struct ms_store *open_store(const struct ms_store_options *options) {
    struct ms_store *store = NULL;
    expect(0, ms_store_open(options, &store, &err));
    return store;
}
