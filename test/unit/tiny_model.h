/* Tiny networks and folders of their own, for tests of whatever reads or writes models. */
#ifndef MSAAS_TEST_TINY_MODEL_H
#define MSAAS_TEST_TINY_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mapped.h"
#include "msaas/model_json.h"
#include "safetensors.h"
#include "tensors.h"

static inline struct ms_hyper tiny_hyper(void) {
    return (struct ms_hyper){
        .sources = 2,
        .audio_channels = 2,
        .samplerate = 44100,
        .segment_frames = 4096,
        .channels = 2,
        .growth = 2,
        .depth = 2,
        .nfft = 128,
        .kernel_size = 8,
        .stride = 4,
        .context = 1,
        .dconv_depth = 1,
        .dconv_comp = 2,
        .dconv_encoder = true,
        .dconv_decoder = true,
        .freq_emb = 0.2,
        .emb_scale = 10,
        .bottom_channels = 4,
        .t_layers = 2,
        .t_heads = 2,
        .t_hidden_scale = 2,
        .t_max_period = 10000,
        .t_weight_pos_embed = 1,
    };
}

/* Values that float16 holds, other ones for another seed. */
static inline struct ms_tensors *tiny_tensors(unsigned seed) {
    const struct ms_hyper hyper = tiny_hyper();
    struct ms_tensors *tensors;
    assert_int_equal(ms_tensors_new(&hyper, SIZE_MAX, &tensors, NULL), 0);
    for (size_t i = 0; i < tensors->count; i++)
        for (size_t j = 0; j < tensors->items[i].count; j++)
            tensors->items[i].values[j] = (float)((seed + 31 * i + 7 * j) % 2048) / 1024 - 1;
    return tensors;
}

static inline void make_folder(char folder[64]) {
    strcpy(folder, "/tmp/msaas-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

/* Files only; tells how many there were. */
static inline int remove_folder(const char *folder) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    struct dirent *entry;
    char path[400];
    int count = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_int_equal(unlink(path), 0);
        count++;
    }
    closedir(dir);
    assert_int_equal(rmdir(folder), 0);
    return count;
}

/* folder/tiny.json and its networks; each of a bag serves one of the two stems. */
static inline void write_tiny_model(const char *folder, int networks) {
    struct ms_model_json json = {
        .hyper = tiny_hyper(),
        .source = "a test",
        .info = {.name = "tiny", .licence = "none", .stem_count = 2, .member_count = networks},
    };
    strcpy(json.info.stems[0], "noise");
    strcpy(json.info.stems[1], "rest");
    char path[400];
    for (int i = 0; i < networks; i++) {
        struct ms_tensors *tensors = tiny_tensors((unsigned)i);
        snprintf(json.networks[i].file, sizeof json.networks[i].file, "tiny-%d.safetensors", i);
        snprintf(path, sizeof path, "%s/%s", folder, json.networks[i].file);
        assert_int_equal(ms_safetensors_write(path, tensors, json.networks[i].sha256, NULL), 0);
        ms_tensors_free(tensors);
        for (int j = 0; j < 2; j++)
            json.info.weights[i][j] = networks == 1 || i == j;
    }
    snprintf(path, sizeof path, "%s/tiny.json", folder);
    assert_int_equal(ms_model_json_write(path, &json, NULL), 0);
}

/* The whole file; the caller's to free. One byte more is allocated, and is 0. */
static inline char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = calloc(1, *size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static inline void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

#endif
