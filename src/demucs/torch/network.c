/* From mapped weights to tensors on a device, and the runners of networks: what the library hands out.
 * A network is immutable and shared; a runner, with its pool of activations, belongs to one thread. */
#include "../backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "htdemucs.h"

struct loader {
    struct ms_network *net;
    const struct ms_weights *weights;
    struct ms_error *err;
    int status; /* first error */
};

/* ---- loading ----------------------------------------------------------------------------------------------- */

static struct ms_tensor *load(struct loader *l, const char *prefix, const char *name) {
    char full[128];
    (void)snprintf(full, sizeof full, "%s.%s", prefix, name);
    const struct ms_weight *w = ms_weights_find(l->weights, full);
    if (w == NULL) {
        if (l->status == 0)
            l->status = ms_error_set(l->err, MS_EMODEL, "tensor %s is missing", full);
        return NULL;
    }
    if (w->dtype == MS_DTYPE_F16)
        return ms_from_f16(l->net->pool, w->data, w->dims, w->shape);
    return ms_from_f32(l->net->pool, w->data, w->dims, w->shape);
}

static struct affine load_affine(struct loader *l, const char *prefix) {
    return (struct affine){load(l, prefix, "weight"), load(l, prefix, "bias")};
}

/* Under prefix.name. */
static struct affine load_under(struct loader *l, const char *prefix, const char *name) {
    char full[128];
    (void)snprintf(full, sizeof full, "%s.%s", prefix, name);
    return load_affine(l, full);
}

static void load_dconv(struct loader *l, const char *prefix, struct dconv *dconv) {
    dconv->depth = l->net->hyper.dconv_depth;
    for (int i = 0; i < dconv->depth; i++) {
        struct dconv_layer *layer = &dconv->layers[i];
        char base[96];
        (void)snprintf(base, sizeof base, "%s.dconv.layers.%d", prefix, i);
        layer->conv_in = load_under(l, base, "0");
        layer->norm_in = load_under(l, base, "1");
        layer->conv_out = load_under(l, base, "3");
        layer->norm_out = load_under(l, base, "4");
        layer->scale = load(l, base, "6.scale");
    }
}

static void load_attention(struct loader *l, const char *prefix, bool cross,
                           struct attention_layer *layer) {
    char base[96];
    (void)snprintf(base, sizeof base, "%s.%s", prefix, cross ? "cross_attn" : "self_attn");
    layer->in_proj =
        (struct affine){load(l, base, "in_proj_weight"), load(l, base, "in_proj_bias")};
    layer->out_proj = load_under(l, base, "out_proj");
    layer->norm_q = load_under(l, prefix, "norm1");
    if (cross)
        layer->norm_k = load_under(l, prefix, "norm2");
    layer->norm_ff = load_under(l, prefix, cross ? "norm3" : "norm2");
    layer->linear1 = load_under(l, prefix, "linear1");
    layer->linear2 = load_under(l, prefix, "linear2");
    layer->norm_out = load_under(l, prefix, "norm_out");
    layer->gamma_1 = load(l, prefix, "gamma_1.scale");
    layer->gamma_2 = load(l, prefix, "gamma_2.scale");
}

/* letter: "" for the frequency branch, "t" for the time branch, as the published names have it. */
static void load_branch(struct loader *l, const char *letter, struct branch *branch) {
    const struct ms_hyper *h = &l->net->hyper;
    char name[64];
    for (int i = 0; i < h->depth; i++) {
        (void)snprintf(name, sizeof name, "%sencoder.%d", letter, i);
        branch->encoder[i].conv = load_under(l, name, "conv");
        branch->encoder[i].rewrite = load_under(l, name, "rewrite");
        if (h->dconv_encoder)
            load_dconv(l, name, &branch->encoder[i].dconv);
        (void)snprintf(name, sizeof name, "%sdecoder.%d", letter, i);
        branch->decoder[i].conv = load_under(l, name, "conv_tr");
        branch->decoder[i].rewrite = load_under(l, name, "rewrite");
        if (h->dconv_decoder)
            load_dconv(l, name, &branch->decoder[i].dconv);
    }
    if (h->t_layers == 0)
        return;
    const char *suffix = *letter == '\0' ? "" : "_t";
    if (h->bottom_channels > 0) {
        (void)snprintf(name, sizeof name, "channel_upsampler%s", suffix);
        branch->upsampler = load_affine(l, name);
        (void)snprintf(name, sizeof name, "channel_downsampler%s", suffix);
        branch->downsampler = load_affine(l, name);
    }
    (void)snprintf(name, sizeof name, "crosstransformer.norm_in%s", suffix);
    branch->norm_in = load_affine(l, name);
    for (int i = 0; i < h->t_layers; i++) {
        (void)snprintf(name, sizeof name, "crosstransformer.layers%s.%d", suffix, i);
        load_attention(l, name, i % 2 == 1, &branch->layers[i]);
    }
}

/* ---- embeddings: functions of the hyper-parameters alone --------------------------------------------------------- */

/* The embedding table [frequencies][channels] counts as itself * emb_scale * freq_emb (ScaledEmbedding, HTDemucs). */
static void load_freq_embedding(struct loader *l) {
    const struct ms_hyper *h = &l->net->hyper;
    struct ms_pool *p = l->net->pool;
    if (h->freq_emb == 0.0)
        return;
    struct ms_tensor *table = load(l, "freq_emb.embedding", "weight");
    const int64_t turn[] = {1, 0};
    struct ms_tensor *turned = ms_contiguous(p, ms_permute(p, table, 2, turn));
    turned = ms_affine_(p, turned, h->emb_scale * h->freq_emb, 0.0);
    const int64_t shape[] = {h->channels, h->nfft / 2 / h->stride, 1};
    l->net->freq_embedding = ms_reshape(p, turned, 3, shape);
}

/* create_sin_embedding (demucs/transformer.py): cosines in the first half of the channels, sines in the second. */
static struct ms_tensor *time_positions(const struct ms_hyper *h, struct ms_pool *p, int channels,
                                        int64_t tokens) {
    float *data = malloc(sizeof *data * (size_t)tokens * (size_t)channels);
    if (data == NULL)
        return NULL;
    const int half = channels / 2;
    for (int64_t t = 0; t < tokens; t++) {
        for (int c = 0; c < half; c++) {
            const double phase =
                (double)t / pow(h->t_max_period, half > 1 ? (double)c / (half - 1) : 0.0);
            data[t * channels + c] = (float)(cos(phase) * h->t_weight_pos_embed);
            data[t * channels + half + c] = (float)(sin(phase) * h->t_weight_pos_embed);
        }
    }
    const int64_t shape[] = {tokens, channels};
    struct ms_tensor *out = ms_from_f32(p, data, 2, shape);
    free(data);
    return out;
}

/* create_2d_sin_embedding (demucs/transformer.py): the first half of the channels follows time, the second frequency,
 * sine and cosine in turn. Token = time * frequencies + frequency. */
static struct ms_tensor *freq_positions(const struct ms_hyper *h, struct ms_pool *p, int channels,
                                        int64_t frequencies, int64_t times) {
    const int64_t tokens = frequencies * times;
    float *data = malloc(sizeof *data * (size_t)tokens * (size_t)channels);
    if (data == NULL)
        return NULL;
    const int half = channels / 2;
    for (int64_t token = 0; token < tokens; token++) {
        for (int c = 0; c < channels; c++) {
            const int within = c % half;
            const double position = (double)(c < half ? token / frequencies : token % frequencies);
            const double angle =
                position * exp(-(double)(within - within % 2) * log(h->t_max_period) / half);
            const double value = within % 2 == 0 ? sin(angle) : cos(angle);
            data[token * channels + c] = (float)(value * h->t_weight_pos_embed);
        }
    }
    const int64_t shape[] = {tokens, channels};
    struct ms_tensor *out = ms_from_f32(p, data, 2, shape);
    free(data);
    return out;
}

static void make_positions(struct ms_network *net) {
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

static void network_free(struct ms_network *network) {
    if (network == NULL)
        return;
    ms_pool_free(network->pool);
    free(network);
}

static enum ms_precision resolve(const char *device, enum ms_precision asked) {
    (void)device;
    return asked == MS_PRECISION_AUTO ? MS_PRECISION_FLOAT32 : asked;
}

/* Whatever the precision, the operators here compute in float32, which is no worse. */
static int network_new(const struct ms_hyper *hyper, const struct ms_weights *weights,
                       const char *device, enum ms_precision precision, struct ms_network **out,
                       struct ms_error *err) {
    (void)precision;
    *out = NULL;
    if (hyper->depth > MS_MAX_DEPTH || hyper->dconv_depth > MS_MAX_DCONV ||
        hyper->t_layers > MS_MAX_LAYERS)
        return ms_error_set(err, MS_EMODEL, "the network has more layers than are supported");
    ms_torch_init();
    struct ms_network *net = calloc(1, sizeof *net);
    if (net == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a network");
    net->hyper = *hyper;
    int status = ms_pool_new(device, &net->pool, err);
    if (status < 0)
        goto out;
    struct loader loader = {.net = net, .weights = weights, .err = err};
    load_branch(&loader, "", &net->freq);
    load_branch(&loader, "t", &net->time);
    load_freq_embedding(&loader);
    make_positions(net);
    status = loader.status;
    if (status == 0)
        status = ms_pool_status(net->pool, err);
    if (status == 0 && hyper->t_layers > 0 &&
        (net->freq.position == NULL || net->time.position == NULL))
        status = ms_error_set(err, MS_ENOMEM, "no memory for the position embeddings");
out:
    if (status < 0)
        network_free(net);
    else
        *out = net;
    return status;
}

/* ---- running -------------------------------------------------------------------------------------------------- */

struct ms_runner {
    struct ms_pool *pool;
};

static int runner_new(const struct ms_network *like, struct ms_runner **out, struct ms_error *err) {
    *out = NULL;
    struct ms_runner *runner = calloc(1, sizeof *runner);
    if (runner == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a session");
    const int status = ms_pool_new_like(like->pool, &runner->pool, err);
    if (status < 0)
        free(runner);
    else
        *out = runner;
    return status;
}

static void runner_free(struct ms_runner *runner) {
    if (runner == NULL)
        return;
    ms_pool_free(runner->pool);
    free(runner);
}

static int forward(struct ms_runner *runner, const struct ms_network *net, const float *mix,
                   float *out, double seconds[MS_STAGE_COUNT], struct ms_error *err) {
    struct ms_pool *p = runner->pool;
    const int64_t shape[] = {net->hyper.audio_channels, net->hyper.segment_frames};
    const struct ms_tensor *input = ms_from_f32(p, mix, 2, shape);
    ms_to_f32(p, ms_htdemucs_forward(net, p, input, seconds), out);
    const int status = ms_pool_status(p, err);
    ms_pool_clear(p);
    return status;
}

const struct ms_backend ms_torch_backend = {
    .version = ms_torch_version,
    .resolve = resolve,
    .network_new = network_new,
    .network_free = network_free,
    .runner_new = runner_new,
    .runner_free = runner_free,
    .forward = forward,
};
