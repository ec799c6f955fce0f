/* Which tensors a network of given hyper-parameters has. Readers check files against it, importers
 * look for these tensors, and the writer uses this order. Pure functions; any thread. */
#include "msaas/hyper.h"

#include <stdio.h>

#include "msaas/model.h"

/* Far more than any published model has. Keeps products of dimensions from overflowing. */
#define MAX_VALUES (INT64_C(1) << 30)

struct walk {
    const struct ms_hyper *hyper;
    int (*visit)(void *context, const char *name, int dims, const int64_t *shape);
    void *context;
    int stop; /* what visit returned last; nothing more is visited once it is not 0 */
};

/* Visits `prefix.name` with the dimensions given; the first 0 ends them. */
static void tensor(struct walk *walk, const char *prefix, const char *name, int64_t a, int64_t b,
                   int64_t c, int64_t d) {
    char full[MS_TENSOR_NAME_BYTES];
    const int64_t shape[MS_TENSOR_MAX_DIMS] = {a, b, c, d};
    if (walk->stop)
        return;
    int dims = 0;
    while (dims < MS_TENSOR_MAX_DIMS && shape[dims] > 0)
        dims++;
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    walk->stop = walk->visit(walk->context, full, dims, shape);
}

static void weight_and_bias(struct walk *walk, const char *prefix, const char *name,
                            int64_t channels) {
    char full[96];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    tensor(walk, full, "weight", channels, 0, 0, 0);
    tensor(walk, full, "bias", channels, 0, 0, 0);
}

/* Residual branch of a layer: squeeze (3 wide, dilated), norm, expand (1 wide) to both halves of a
 * GLU, norm, scale. */
static void dconv(struct walk *walk, const char *layer, int64_t channels) {
    const int64_t hidden = channels / walk->hyper->dconv_comp;
    char prefix[96];
    for (int i = 0; i < walk->hyper->dconv_depth; i++) {
        snprintf(prefix, sizeof prefix, "%s.dconv.layers.%d", layer, i);
        tensor(walk, prefix, "0.weight", hidden, channels, 3, 0);
        tensor(walk, prefix, "0.bias", hidden, 0, 0, 0);
        weight_and_bias(walk, prefix, "1", hidden);
        tensor(walk, prefix, "3.weight", 2 * channels, hidden, 1, 0);
        tensor(walk, prefix, "3.bias", 2 * channels, 0, 0, 0);
        weight_and_bias(walk, prefix, "4", 2 * channels);
        tensor(walk, prefix, "6.scale", channels, 0, 0, 0);
    }
}

/* Channels between the layers `index - 1` and `index` (0 is the outermost) of one branch's encoder.
 */
static int64_t channels_before(const struct ms_hyper *hyper, int index, int64_t outermost) {
    int64_t channels = hyper->channels;
    if (index == 0)
        return outermost;
    for (int i = 1; i < index; i++)
        channels *= hyper->growth;
    return channels;
}

/* One branch: spectrogram (2-D convolutions, one wide in time) or waveform (1-D, marked "t"). */
static void branch(struct walk *walk, bool spectrogram) {
    const struct ms_hyper *h = walk->hyper;
    const char *mark = spectrogram ? "" : "t";
    const int64_t in = (int64_t)h->audio_channels * (spectrogram ? 2 : 1); /* complex as channels */
    const int64_t out = in * h->sources;
    const int64_t kernel = h->kernel_size;
    const int64_t wide = 2 * h->context + 1;
    char prefix[48];
    for (int i = 0; i < h->depth; i++) {
        const int64_t chin = channels_before(h, i, in);
        const int64_t chout = channels_before(h, i + 1, in);
        snprintf(prefix, sizeof prefix, "%sencoder.%d", mark, i);
        tensor(walk, prefix, "conv.weight", chout, chin, kernel, spectrogram);
        tensor(walk, prefix, "conv.bias", chout, 0, 0, 0);
        tensor(walk, prefix, "rewrite.weight", 2 * chout, chout, 1, spectrogram);
        tensor(walk, prefix, "rewrite.bias", 2 * chout, 0, 0, 0);
        if (h->dconv_encoder)
            dconv(walk, prefix, chout);
    }
    for (int i = h->depth - 1; i >= 0; i--) { /* decoder.0 is the innermost */
        const int64_t chin = channels_before(h, i + 1, out);
        const int64_t chout = channels_before(h, i, out);
        snprintf(prefix, sizeof prefix, "%sdecoder.%d", mark, h->depth - 1 - i);
        tensor(walk, prefix, "conv_tr.weight", chin, chout, kernel, spectrogram);
        tensor(walk, prefix, "conv_tr.bias", chout, 0, 0, 0);
        tensor(walk, prefix, "rewrite.weight", 2 * chin, chin, wide, spectrogram ? wide : 0);
        tensor(walk, prefix, "rewrite.bias", 2 * chin, 0, 0, 0);
        if (h->dconv_decoder)
            dconv(walk, prefix, chin);
    }
}

/* Odd layers attend to the other branch and normalise it too (norm2); the feed-forward's norm is
 * then the third. */
static void transformer_layer(struct walk *walk, const char *layer, bool cross, int64_t width,
                              int64_t hidden) {
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%s.%s", layer, cross ? "cross_attn" : "self_attn");
    tensor(walk, prefix, "in_proj_weight", 3 * width, width, 0, 0);
    tensor(walk, prefix, "in_proj_bias", 3 * width, 0, 0, 0);
    tensor(walk, prefix, "out_proj.weight", width, width, 0, 0);
    tensor(walk, prefix, "out_proj.bias", width, 0, 0, 0);
    tensor(walk, layer, "linear1.weight", hidden, width, 0, 0);
    tensor(walk, layer, "linear1.bias", hidden, 0, 0, 0);
    tensor(walk, layer, "linear2.weight", width, hidden, 0, 0);
    tensor(walk, layer, "linear2.bias", width, 0, 0, 0);
    weight_and_bias(walk, layer, "norm1", width);
    weight_and_bias(walk, layer, "norm2", width);
    if (cross)
        weight_and_bias(walk, layer, "norm3", width);
    weight_and_bias(walk, layer, "norm_out", width);
    tensor(walk, layer, "gamma_1.scale", width, 0, 0, 0);
    tensor(walk, layer, "gamma_2.scale", width, 0, 0, 0);
}

static void transformer(struct walk *walk) {
    const struct ms_hyper *h = walk->hyper;
    const int64_t inner = channels_before(h, h->depth, 0);
    const int64_t width = ms_hyper_transformer_channels(h);
    const int64_t hidden = (int64_t)(h->t_hidden_scale * (double)width);
    char prefix[64];
    for (int i = 0; i < 2 && h->bottom_channels > 0; i++) {
        const char *mark = i == 0 ? "" : "_t";
        snprintf(prefix, sizeof prefix, "channel_upsampler%s", mark);
        tensor(walk, prefix, "weight", width, inner, 1, 0);
        tensor(walk, prefix, "bias", width, 0, 0, 0);
        snprintf(prefix, sizeof prefix, "channel_downsampler%s", mark);
        tensor(walk, prefix, "weight", inner, width, 1, 0);
        tensor(walk, prefix, "bias", inner, 0, 0, 0);
    }
    weight_and_bias(walk, "crosstransformer", "norm_in", width);
    weight_and_bias(walk, "crosstransformer", "norm_in_t", width);
    for (int i = 0; i < h->t_layers; i++) {
        for (int t = 0; t < 2; t++) {
            snprintf(prefix, sizeof prefix, "crosstransformer.layers%s.%d", t == 0 ? "" : "_t", i);
            transformer_layer(walk, prefix, i % 2 == 1, width, hidden);
        }
    }
}

int ms_hyper_transformer_channels(const struct ms_hyper *hyper) {
    return hyper->bottom_channels > 0 ? hyper->bottom_channels
                                      : (int)channels_before(hyper, hyper->depth, 0);
}

int ms_hyper_visit_tensors(const struct ms_hyper *hyper,
                           int (*visit)(void *context, const char *name, int dims,
                                        const int64_t *shape),
                           void *context) {
    struct walk walk = {.hyper = hyper, .visit = visit, .context = context};
    branch(&walk, true);
    branch(&walk, false);
    tensor(&walk, "freq_emb.embedding", "weight", hyper->nfft / 2 / hyper->stride, hyper->channels,
           0, 0);
    transformer(&walk);
    return walk.stop;
}

static int count_values(void *context, const char *name, int dims, const int64_t *shape) {
    int64_t *total = context;
    (void)name;
    int64_t values = 1;
    for (int i = 0; i < dims; i++)
        if (shape[i] > MAX_VALUES / values)
            return 1;
        else
            values *= shape[i];
    *total += values;
    return *total > MAX_VALUES;
}

static int range(const char *name, int64_t value, int64_t low, int64_t high, struct ms_error *err) {
    if (value >= low && value <= high)
        return 0;
    return ms_error_set(err, MS_EMODEL,
                        "hyper-parameter %s is %lld; it must be within %lld and %lld", name,
                        (long long)value, (long long)low, (long long)high);
}

int ms_hyper_check(const struct ms_hyper *h, struct ms_error *err) {
    if (range("sources", h->sources, 1, MS_MODEL_MAX_STEMS, err) ||
        range("audio_channels", h->audio_channels, 2, 2, err) ||
        range("samplerate", h->samplerate, 8000, 192000, err) ||
        range("segment_frames", h->segment_frames, 256, INT64_C(60) * h->samplerate, err) ||
        range("channels", h->channels, 1, 1024, err) || range("growth", h->growth, 1, 4, err) ||
        range("depth", h->depth, 1, MS_HYPER_MAX_DEPTH, err) ||
        range("nfft", h->nfft, 64, 16384, err) ||
        range("kernel_size", h->kernel_size, 4, 32, err) ||
        range("stride", h->stride, 2, 16, err) || range("context", h->context, 0, 4, err) ||
        range("dconv_depth", h->dconv_depth, 1, MS_HYPER_MAX_DCONV_DEPTH, err) ||
        range("dconv_comp", h->dconv_comp, 1, h->channels, err) ||
        range("bottom_channels", h->bottom_channels, 0, 4096, err) ||
        range("t_layers", h->t_layers, 1, MS_HYPER_MAX_LAYERS, err) ||
        range("t_heads", h->t_heads, 1, 64, err))
        return MS_EMODEL;
    if (h->nfft & (h->nfft - 1))
        return ms_error_set(err, MS_EMODEL, "hyper-parameter nfft is %d; it must be a power of two",
                            h->nfft);
    if (h->kernel_size != 2 * h->stride || h->stride % 2)
        return ms_error_set(
            err, MS_EMODEL,
            "hyper-parameters kernel_size %d and stride %d: the kernel must be twice the "
            "stride, and the stride even",
            h->kernel_size, h->stride);
    /* Each layer divides the frequencies; upstream changes the layer's form once too few are left.
     */
    int64_t freqs = h->nfft / 2;
    for (int i = 0; i < h->depth; i++) {
        if (freqs <= h->kernel_size || freqs % h->stride)
            return ms_error_set(err, MS_EMODEL,
                                "hyper-parameters nfft %d and stride %d do not allow depth %d",
                                h->nfft, h->stride, h->depth);
        freqs /= h->stride;
    }
    if (!(h->freq_emb > 0 && h->freq_emb <= 10) || !(h->emb_scale > 0 && h->emb_scale <= 1000) ||
        !(h->t_hidden_scale >= 0.125 && h->t_hidden_scale <= 16) ||
        !(h->t_max_period > 1 && h->t_max_period <= 1e6) ||
        !(h->t_weight_pos_embed >= 0 && h->t_weight_pos_embed <= 10))
        return ms_error_set(err, MS_EMODEL,
                            "hyper-parameter freq_emb, emb_scale, t_hidden_scale, t_max_period or "
                            "t_weight_pos_embed is out of range");
    const int width = ms_hyper_transformer_channels(h);
    if (width % 4 || width % h->t_heads)
        return ms_error_set(err, MS_EMODEL, "a transformer %d wide cannot have %d heads", width,
                            h->t_heads);
    int64_t values = 0;
    if (ms_hyper_visit_tensors(h, count_values, &values))
        return ms_error_set(err, MS_EMODEL,
                            "hyper-parameters describe a network of over %lld values",
                            (long long)MAX_VALUES);
    return 0;
}
