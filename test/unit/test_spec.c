/* Which tensors networks consist of. The published network is compared with the manifest, name by
 * name. */
#include "msaas/manifest.h"
#include "tiny_model.h"

static const struct ms_hyper published = {
    .sources = 4,
    .audio_channels = 2,
    .samplerate = 44100,
    .segment_frames = 343980,
    .channels = 48,
    .growth = 2,
    .depth = 4,
    .nfft = 4096,
    .kernel_size = 8,
    .stride = 4,
    .context = 1,
    .dconv_depth = 2,
    .dconv_comp = 8,
    .dconv_encoder = true,
    .dconv_decoder = true,
    .freq_emb = 0.2,
    .emb_scale = 10,
    .bottom_channels = 512,
    .t_layers = 5,
    .t_heads = 8,
    .t_hidden_scale = 4,
    .t_max_period = 10000,
    .t_weight_pos_embed = 1,
};

struct seen {
    const struct ms_json *expected; /* NULL: any */
    const char *wanted;             /* part of a name to count */
    int count, matches;
    int64_t values;
    int64_t shape[MS_TENSOR_MAX_DIMS]; /* of the last match */
};

static int see(void *context, const char *name, int dims, const int64_t *shape) {
    struct seen *seen = context;
    int64_t values = 1;
    for (int i = 0; i < dims; i++)
        values *= shape[i];
    seen->values += values;
    seen->count++;
    if (seen->expected != NULL)
        assert_non_null(ms_json_string(ms_json_get(seen->expected, name)));
    if (seen->wanted != NULL && strstr(name, seen->wanted) != NULL) {
        seen->matches++;
        memcpy(seen->shape, shape, (size_t)dims * sizeof *shape);
    }
    return 0;
}

static struct seen visit(const struct ms_hyper *hyper, const char *wanted) {
    struct seen seen = {.wanted = wanted};
    assert_int_equal(ms_hyper_check(hyper, NULL), 0);
    assert_int_equal(ms_hyper_visit_tensors(hyper, see, &seen), 0);
    return seen;
}

static void the_published_network(void **state) {
    struct ms_manifest *manifest = malloc(sizeof *manifest);
    (void)state;
    assert_non_null(manifest);
    assert_int_equal(ms_manifest_open("htdemucs", manifest, NULL), 0);
    struct seen seen = {0};
    seen.expected = manifest->networks[0].tensors;
    assert_int_equal(ms_hyper_visit_tensors(&published, see, &seen), 0);
    assert_int_equal(seen.count, 533);
    assert_int_equal(ms_json_count(seen.expected), 533);
    assert_int_equal(seen.values, 41984456);
    ms_manifest_close(manifest);
    free(manifest);
}

static void other_forms(void **state) {
    struct ms_hyper hyper = published;
    (void)state;
    hyper.sources = 6;
    assert_int_equal(visit(&hyper, "tdecoder.3.conv_tr.weight").shape[1], 12);
    hyper.bottom_channels = 0;
    assert_int_equal(visit(&hyper, "sampler").matches, 0);
    assert_int_equal(visit(&hyper, "layers_t.1.cross_attn.in_proj_weight").shape[1], 384);
    hyper.dconv_decoder = false;
    assert_int_equal(visit(&hyper, "decoder.0.dconv").matches, 0);
    assert_int_not_equal(visit(&hyper, "encoder.0.dconv").matches, 0);
    hyper.t_layers = 3;
    assert_int_equal(visit(&hyper, "cross_attn.in_proj_weight").matches, 2);
    assert_int_equal(visit(&hyper, "self_attn.in_proj_weight").matches, 4);
    hyper.depth = 3;
    hyper.context = 0;
    assert_int_equal(visit(&hyper, ".decoder").matches, 0);
    assert_int_equal(visit(&hyper, "tdecoder.0.rewrite.weight").shape[2], 1);
    assert_int_equal(visit(&hyper, "tdecoder.0.rewrite.weight").shape[1], 192);
}

static int stop(void *context, const char *name, int dims, const int64_t *shape) {
    int *left = context;
    (void)name;
    (void)dims;
    (void)shape;
    return --*left == 0 ? 7 : 0;
}

static void a_visit_can_stop(void **state) {
    int left = 10;
    (void)state;
    assert_int_equal(ms_hyper_visit_tensors(&published, stop, &left), 7);
    assert_int_equal(left, 0);
}

static void impossible_hyper_parameters(void **state) {
    struct ms_error err;
    struct ms_hyper hyper;
    (void)state;
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        hyper = published;                                                                         \
        hyper.field = (value);                                                                     \
        assert_int_equal(ms_hyper_check(&hyper, &err), MS_EMODEL);                                 \
        assert_non_null(strstr(err.text, #field));                                                 \
    } while (0)
    REFUSED(sources, 0);
    REFUSED(sources, 17);
    REFUSED(audio_channels, 1);
    REFUSED(segment_frames, 1 << 30);
    REFUSED(channels, -1);
    REFUSED(nfft, 4095);
    REFUSED(nfft, 1024);
    REFUSED(depth, 5);
    REFUSED(kernel_size, 6);
    REFUSED(stride, 3);
    REFUSED(dconv_comp, 0);
    REFUSED(dconv_comp, 49);
    REFUSED(t_layers, 0);
    REFUSED(t_layers, 17);
    hyper.t_layers = 16; /* what the network has room for */
    assert_int_equal(ms_hyper_check(&hyper, &err), 0);
    REFUSED(freq_emb, 0);
    REFUSED(t_hidden_scale, 1e300);
    hyper = published;
    hyper.t_heads = 7;
    assert_int_equal(ms_hyper_check(&hyper, &err), MS_EMODEL);
    hyper = published;
    hyper.channels = 1024;
    hyper.growth = 4;
    assert_int_equal(ms_hyper_check(&hyper, &err), MS_EMODEL); /* too large as a whole */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_network),
        cmocka_unit_test(other_forms),
        cmocka_unit_test(a_visit_can_stop),
        cmocka_unit_test(impossible_hyper_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
