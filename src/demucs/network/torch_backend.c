/* From mapped weights to tensors on a device, and the runners of networks: what the library
 * hands out. A network is immutable and shared; a runner, with its pool of activations, belongs
 * to one thread. */
#include "../backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "htdemucs.h"

struct loader {
    struct ms_member *net;
    struct ms_pool *published; /* weights as published, until they are packed */
    const struct ms_weights *weights;
    struct ms_error *err;
    int rc; /* first error */
};

/* ---- loading ---- */

static struct ms_tensor *load_into(struct loader *l, struct ms_pool *pool, const char *prefix,
                                   const char *name) {
    char full[128];
    (void)snprintf(full, sizeof full, "%s%s%s", prefix, *name != '\0' ? "." : "", name);
    const struct ms_weight *w = ms_weights_find(l->weights, full);
    if (w == NULL) {
        if (l->rc == 0)
            l->rc = ms_error_set(l->err, MS_EMODEL, "tensor %s is missing", full);
        return NULL;
    }
    if (w->dtype == MS_DTYPE_F16)
        return ms_tensor_from_f16(pool, w->data, w->dims, w->shape);
    return ms_tensor_from_f32(pool, w->data, w->dims, w->shape);
}

static struct ms_tensor *load(struct loader *l, const char *prefix, const char *name) {
    return load_into(l, l->net->pool, prefix, name);
}

static struct ms_norm load_norm(struct loader *l, const char *prefix, const char *name) {
    char full[128];
    (void)snprintf(full, sizeof full, "%s.%s", prefix, name);
    return (struct ms_norm){load(l, full, "weight"), load(l, full, "bias")};
}

/* A filter of the weights and bias of these names; outputs first..first + shape.out of them. */
static const struct ms_filter *load_part(struct loader *l, const struct ms_filter_shape *shape,
                                         const char *weight, const char *bias, int64_t first) {
    struct ms_pool *p = l->published;
    const struct ms_tensor *w = load_into(l, p, weight, ""), *b = load_into(l, p, bias, "");
    struct ms_filter_shape s = *shape;
    s.bf16 = s.bf16 && l->net->bf16;
    if (!s.transposed) {
        w = ms_tensor_narrow(p, w, 0, first, s.out);
        b = ms_tensor_narrow(p, b, 0, first, s.out);
    }
    if (l->rc == 0)
        l->rc = ms_pool_status(p, l->err);
    const struct ms_filter *f = ms_filter_new(l->net->pool, &s, w, b);
    ms_pool_clear(p);
    return f;
}

static const struct ms_filter *load_filter(struct loader *l, const struct ms_filter_shape *shape,
                                           const char *prefix, const char *name) {
    char weight[128], bias[128];
    const char *dot = *name != '\0' ? "." : "";
    (void)snprintf(weight, sizeof weight, "%s%s%s.weight", prefix, dot, name);
    (void)snprintf(bias, sizeof bias, "%s%s%s.bias", prefix, dot, name);
    return load_part(l, shape, weight, bias, 0);
}

static struct ms_filter_shape linear(int64_t in, int64_t out) {
    return (struct ms_filter_shape){
        .in = in,
        .out = out,
        .kernel_rows = 1,
        .kernel_columns = 1,
        .stride_rows = 1,
        .stride_columns = 1,
        .dilation = 1,
        .bf16 = true,
    };
}

/* The second products stay in float32: they are small, and their results are measured. */
static void load_dconv(struct loader *l, const char *prefix, int64_t channels,
                       struct ms_layer *layer) {
    const struct ms_hyper *h = &l->net->hyper;
    const int64_t hidden = channels / h->dconv_comp;
    layer->unit_count = h->dconv_depth;
    for (int i = 0; i < layer->unit_count; i++) {
        struct ms_residual *unit = &layer->units[i];
        char base[96];
        (void)snprintf(base, sizeof base, "%s.dconv.layers.%d", prefix, i);
        struct ms_filter_shape in = linear(channels, hidden), out = linear(hidden, 2 * channels);
        in.kernel_columns = 3;
        in.dilation = in.padding_columns = 1 << i;
        out.bf16 = false;
        out.activation = MS_ACTIVATION_GLU;
        out.measured = true;
        unit->in = load_filter(l, &in, base, "0");
        unit->out = load_filter(l, &out, base, "3");
        const struct ms_norm norm_in = load_norm(l, base, "1"), norm_out = load_norm(l, base, "4");
        unit->norm_in_weight = norm_in.weight;
        unit->norm_in_bias = norm_in.bias;
        unit->norm_out_weight = norm_out.weight;
        unit->norm_out_bias = norm_out.bias;
        unit->scale = load(l, base, "6.scale");
    }
}

static void load_attention(struct loader *l, const char *prefix, bool cross,
                           struct attention_layer *layer) {
    const int64_t channels = ms_hyper_transformer_channels(&l->net->hyper),
                  hidden = (int64_t)((double)channels * l->net->hyper.t_hidden_scale);
    char base[96], weight[128], bias[128];
    (void)snprintf(base, sizeof base, "%s.%s", prefix, cross ? "cross_attn" : "self_attn");
    (void)snprintf(weight, sizeof weight, "%s.in_proj_weight", base);
    (void)snprintf(bias, sizeof bias, "%s.in_proj_bias", base);
    const struct ms_filter_shape one = linear(channels, channels);
    const struct ms_filter_shape three = linear(channels, 3 * channels);
    /* Keys of the other branch are the most sensitive to rounding: alone they cost some dB. */
    struct ms_filter_shape keys = one;
    keys.bf16 = false;
    struct ms_filter_shape wide = linear(channels, hidden);
    const struct ms_filter_shape narrow = linear(hidden, channels);
    wide.activation = MS_ACTIVATION_GELU;
    layer->cross = cross;
    layer->in_q = load_part(l, cross ? &one : &three, weight, bias, 0);
    if (cross) {
        layer->in_k = load_part(l, &keys, weight, bias, channels);
        layer->in_v = load_part(l, &one, weight, bias, 2 * channels);
        layer->norm_kv = load_norm(l, prefix, "norm2");
    }
    layer->out = load_filter(l, &one, base, "out_proj");
    layer->norm_q = load_norm(l, prefix, "norm1");
    layer->norm_ff = load_norm(l, prefix, cross ? "norm3" : "norm2");
    layer->linear1 = load_filter(l, &wide, prefix, "linear1");
    layer->linear2 = load_filter(l, &narrow, prefix, "linear2");
    layer->norm_out = load_norm(l, prefix, "norm_out");
    layer->gamma_1 = load(l, prefix, "gamma_1.scale");
    layer->gamma_2 = load(l, prefix, "gamma_2.scale");
}

/* Convolutions that change the size go along frequencies in the one branch, along frames in the
 * other. */
static struct ms_filter_shape sized(const struct ms_hyper *h, bool freq, int64_t in, int64_t out) {
    struct ms_filter_shape s = linear(in, out);
    *(freq ? &s.kernel_rows : &s.kernel_columns) = h->kernel_size;
    *(freq ? &s.stride_rows : &s.stride_columns) = h->stride;
    *(freq ? &s.padding_rows : &s.padding_columns) = h->kernel_size / 4;
    return s;
}

static void load_layers(struct loader *l, bool freq, struct branch *branch) {
    const struct ms_hyper *h = &l->net->hyper;
    const char *letter = freq ? "" : "t"; /* as the published names have it */
    const int64_t outermost = (int64_t)h->audio_channels * (freq ? 2 : 1);
    int64_t inner = h->channels;
    char name[64];
    for (int i = 0; i < h->depth; i++, inner *= h->growth) {
        const int64_t outer = inner / h->growth;
        struct ms_layer *encoder = &branch->encoder[i];
        struct decoder *decoder = &branch->decoder[h->depth - 1 - i];
        (void)snprintf(name, sizeof name, "%sencoder.%d", letter, i);
        struct ms_filter_shape conv = sized(h, freq, i == 0 ? outermost : outer, inner);
        struct ms_filter_shape rewrite = linear(inner, 2 * inner);
        conv.bf16 = i > 0; /* the mix itself is not rounded */
        conv.activation = MS_ACTIVATION_GELU;
        rewrite.activation = MS_ACTIVATION_GLU;
        encoder->filter = load_filter(l, &conv, name, "conv");
        encoder->then = load_filter(l, &rewrite, name, "rewrite");
        if (h->dconv_encoder)
            load_dconv(l, name, inner, encoder);

        (void)snprintf(name, sizeof name, "%sdecoder.%d", letter, h->depth - 1 - i);
        conv = sized(h, freq, inner, i == 0 ? outermost * h->sources : outer);
        conv.transposed = true;
        conv.activation = i == 0 ? MS_ACTIVATION_NONE : MS_ACTIVATION_GELU;
        rewrite.kernel_columns = 2 * h->context + 1;
        rewrite.padding_columns = h->context;
        rewrite.kernel_rows = freq ? rewrite.kernel_columns : 1;
        rewrite.padding_rows = freq ? h->context : 0;
        decoder->conv = load_filter(l, &conv, name, "conv_tr");
        decoder->rewrite.filter = load_filter(l, &rewrite, name, "rewrite");
        if (h->dconv_decoder)
            load_dconv(l, name, inner, &decoder->rewrite);
    }
}

static void load_transformer(struct loader *l, bool freq, struct branch *branch) {
    const struct ms_hyper *h = &l->net->hyper;
    const char *suffix = freq ? "" : "_t";
    char name[64];
    if (h->t_layers == 0)
        return;
    if (h->bottom_channels > 0) {
        int64_t inner = h->channels;
        for (int i = 1; i < h->depth; i++)
            inner *= h->growth;
        const struct ms_filter_shape up = linear(inner, h->bottom_channels),
                                     down = linear(h->bottom_channels, inner);
        (void)snprintf(name, sizeof name, "channel_upsampler%s", suffix);
        branch->upsampler = load_filter(l, &up, name, "");
        (void)snprintf(name, sizeof name, "channel_downsampler%s", suffix);
        branch->downsampler = load_filter(l, &down, name, "");
    }
    (void)snprintf(name, sizeof name, "norm_in%s", suffix);
    branch->norm_in = load_norm(l, "crosstransformer", name);
    for (int i = 0; i < h->t_layers; i++) {
        (void)snprintf(name, sizeof name, "crosstransformer.layers%s.%d", suffix, i);
        load_attention(l, name, i % 2 == 1, &branch->layers[i]);
    }
}

/* ---- embeddings: functions of the hyper-parameters alone ---- */

/* The embedding table [frequencies][channels] counts as itself * emb_scale * freq_emb
 * (ScaledEmbedding, HTDemucs). */
static void load_freq_embedding(struct loader *l) {
    const struct ms_hyper *h = &l->net->hyper;
    struct ms_pool *p = l->net->pool;
    if (h->freq_emb == 0.0)
        return;
    struct ms_tensor *table = load(l, "freq_emb.embedding", "weight");
    table = ms_scale_(p, table, h->emb_scale * h->freq_emb);
    const int64_t shape[] = {h->nfft / 2 / h->stride, 1, h->channels};
    l->net->freq_embedding = ms_tensor_reshape(p, table, 3, shape);
}

/* create_sin_embedding (demucs/transformer.py): cosines in the first half of the channels, sines
 * in the second. */
static struct ms_tensor *time_positions(const struct ms_hyper *h, struct ms_pool *p, int channels,
                                        int64_t tokens) {
    float *data = malloc(sizeof *data * (size_t)tokens * (size_t)channels);
    if (data == NULL)
        return NULL;
    const int half = channels / 2;
    for (int c = 0; c < half; c++) {
        const double period = pow(h->t_max_period, half > 1 ? (double)c / (half - 1) : 0.0);
        for (int64_t t = 0; t < tokens; t++) {
            const double phase = (double)t / period;
            data[t * channels + c] = (float)(cos(phase) * h->t_weight_pos_embed);
            data[t * channels + half + c] = (float)(sin(phase) * h->t_weight_pos_embed);
        }
    }
    const int64_t shape[] = {tokens, channels};
    struct ms_tensor *out = ms_tensor_from_f32(p, data, 2, shape);
    free(data);
    return out;
}

/* create_2d_sin_embedding (demucs/transformer.py): the first half of the channels follows time,
 * the second frequency, sine and cosine in turn. Token = frequency * times + time. */
static struct ms_tensor *freq_positions(const struct ms_hyper *h, struct ms_pool *p, int channels,
                                        int64_t frequencies, int64_t times) {
    const int half = channels / 2;
    const int64_t most = frequencies > times ? frequencies : times;
    float *data = malloc(sizeof *data * (size_t)(frequencies * times) * (size_t)channels);
    float *lines = malloc(sizeof *lines * (size_t)most * (size_t)half); /* of each place */
    struct ms_tensor *out = NULL;
    if (data == NULL || lines == NULL)
        goto out;
    for (int64_t place = 0; place < most; place++)
        for (int c = 0; c < half; c++) {
            const double angle =
                (double)place * exp(-(double)(c - c % 2) * log(h->t_max_period) / half);
            lines[place * half + c] =
                (float)((c % 2 == 0 ? sin(angle) : cos(angle)) * h->t_weight_pos_embed);
        }
    const size_t line_bytes = sizeof *lines * (size_t)half;
    for (int64_t token = 0; token < frequencies * times; token++) {
        memcpy(data + token * channels, lines + token % times * half, line_bytes);
        memcpy(data + token * channels + half, lines + token / times * half, line_bytes);
    }
    const int64_t shape[] = {frequencies * times, channels};
    out = ms_tensor_from_f32(p, data, 2, shape);
out:
    free(lines);
    free(data);
    return out;
}

static void make_positions(struct ms_member *net) {
    const struct ms_hyper *h = &net->hyper;
    if (h->t_layers == 0)
        return;
    int channels = h->channels;
    int64_t frequencies = h->nfft / 2, tokens = h->segment_frames;
    for (int i = 0; i < h->depth; i++) {
        if (i > 0)
            channels *= h->growth;
        frequencies /= h->stride;
        tokens = (tokens + h->stride - 1) / h->stride;
    }
    if (h->bottom_channels > 0)
        channels = h->bottom_channels;
    const int64_t hop = h->nfft / 4;
    const int64_t times = (h->segment_frames + hop - 1) / hop;
    net->freq.position = freq_positions(h, net->pool, channels, frequencies, times);
    net->time.position = time_positions(h, net->pool, channels, tokens);
}

static void member_free(struct ms_member *network) {
    if (network == NULL)
        return;
    ms_pool_free(network->pool);
    free(network);
}

/* Of its own accord a network computes in bfloat16 where that is faster and its gate (test/golden)
 * is known to hold; on GPUs it has not been measured. */
static int resolve(const char *device, enum ms_precision asked, enum ms_precision *out,
                   struct ms_error *err) {
    struct ms_pool *pool = NULL; /* only to ask the device */
    ms_torch_init();
    const int rc = ms_pool_new(device, true, &pool, err);
    if (rc != 0)
        return rc;
    *out = asked;
    if (asked == MS_PRECISION_AUTO)
        *out = ms_pool_has_fast_bf16(pool) ? MS_PRECISION_BF16 : MS_PRECISION_FLOAT32;
    ms_pool_free(pool);
    return 0;
}

static int member_new(const struct ms_hyper *hyper, const struct ms_weights *weights,
                      const char *device, enum ms_precision precision, struct ms_member **out,
                      struct ms_error *err) {
    *out = NULL;
    ms_torch_init();
    struct ms_member *net = calloc(1, sizeof *net);
    if (net == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a network");
    net->hyper = *hyper;
    net->bf16 = precision == MS_PRECISION_BF16;
    struct loader loader = {.net = net, .weights = weights, .err = err};
    int rc = ms_pool_new(device, true, &net->pool, err);
    if (rc == 0)
        rc = ms_pool_new(device, true, &loader.published, err);
    if (rc < 0)
        goto out;
    load_layers(&loader, true, &net->freq);
    load_layers(&loader, false, &net->time);
    load_transformer(&loader, true, &net->freq);
    load_transformer(&loader, false, &net->time);
    load_freq_embedding(&loader);
    make_positions(net);
    rc = loader.rc;
    if (rc == 0)
        rc = ms_pool_status(net->pool, err);
    if (rc == 0 && hyper->t_layers > 0 &&
        (net->freq.position == NULL || net->time.position == NULL))
        rc = ms_error_set(err, MS_ENOMEM, "no memory for the position embeddings");
out:
    ms_pool_free(loader.published);
    if (rc < 0)
        member_free(net);
    else
        *out = net;
    return rc;
}

/* ---- running ---- */

struct ms_runner {
    struct ms_pool *pool;
};

static int runner_new(const struct ms_member *like, struct ms_runner **out, struct ms_error *err) {
    *out = NULL;
    struct ms_runner *runner = calloc(1, sizeof *runner);
    if (runner == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a session");
    const int rc = ms_pool_new_like(like->pool, &runner->pool, err);
    if (rc < 0)
        free(runner);
    else
        *out = runner;
    return rc;
}

static void runner_free(struct ms_runner *runner) {
    if (runner == NULL)
        return;
    ms_pool_free(runner->pool);
    free(runner);
}

static int forward(struct ms_runner *runner, const struct ms_member *net, int count,
                   const float *mix, float *out, double seconds[MS_STAGE_COUNT],
                   struct ms_error *err) {
    struct ms_pool *p = runner->pool;
    const int64_t shape[] = {count, net->hyper.audio_channels, net->hyper.segment_frames};
    const struct ms_tensor *input = ms_tensor_from_f32(p, mix, 3, shape);
    ms_tensor_to_f32(p, ms_htdemucs_forward(net, p, input, seconds), out);
    const int rc = ms_pool_status(p, err);
    ms_pool_clear(p);
    return rc;
}

const struct ms_backend ms_torch_backend = {
    .version = ms_torch_version,
    .resolve = resolve,
    .member_new = member_new,
    .member_free = member_free,
    .runner_new = runner_new,
    .runner_free = runner_free,
    .forward = forward,
};
