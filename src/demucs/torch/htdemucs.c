/* The network: mix -> (spectrum, waveform) -> encoders -> cross-domain transformer -> decoders -> sources.
 * A formula on the pool's operators, after demucs/htdemucs.py, hdemucs.py, demucs.py and transformer.py of Demucs v4.
 * Runs on the session's thread; owns nothing but the activations it drops on its way.
 *
 * Activations have no batch dimension where the operators allow it: frequency branch [channels][frequencies][times],
 * time branch [channels][frames]; operators that want a batch get a leading 1. */
#include "htdemucs.h"

#include <stdio.h>

#include "msaas/sys.h"

void (*ms_htdemucs_trace)(const char *module, struct ms_pool *p, const struct ms_tensor *x);

struct run {
    const struct ms_network *net;
    struct ms_pool *p;
};

static void trace(struct run *r, const char *branch, const char *module, int index,
                  const char *part, const struct ms_tensor *x) {
    if (ms_htdemucs_trace == NULL)
        return;
    char name[96];
    if (index < 0)
        (void)snprintf(name, sizeof name, "%s%s", module, branch);
    else
        (void)snprintf(name, sizeof name, "%s%s.%d%s", branch, module, index, part);
    ms_htdemucs_trace(name, r->p, x);
}

/* Drops *x and puts y in its place. */
static void replace(struct run *r, struct ms_tensor **x, struct ms_tensor *y) {
    ms_drop(r->p, *x);
    *x = y;
}

static struct ms_tensor *with_batch(struct run *r, const struct ms_tensor *x) {
    if (x == NULL)
        return NULL;
    int64_t shape[4] = {1, ms_size(x, 0), ms_size(x, 1), 0};
    int dims = 3;
    if (ms_dims(x) == 3) {
        shape[3] = ms_size(x, 2);
        dims = 4;
    }
    return ms_reshape(r->p, x, dims, shape);
}

/* ---- residual branch (DConv) --------------------------------------------------------------------------------- */

/* x [batch][channels][length], updated in place. */
static void run_dconv(struct run *r, const struct dconv *dconv, struct ms_tensor *x) {
    struct ms_pool *p = r->p;
    for (int i = 0; i < dconv->depth; i++) {
        const struct dconv_layer *l = &dconv->layers[i];
        const int dilation = 1 << i;
        const int64_t mark = ms_mark(p);
        struct ms_tensor *y =
            ms_conv1d(p, x, l->conv_in.weight, l->conv_in.bias, 1, dilation, dilation);
        replace(r, &y, ms_group_norm(p, y, 1, l->norm_in.weight, l->norm_in.bias));
        y = ms_gelu_(p, y);
        replace(r, &y, ms_conv1d(p, y, l->conv_out.weight, l->conv_out.bias, 1, 0, 1));
        replace(r, &y, ms_group_norm(p, y, 1, l->norm_out.weight, l->norm_out.bias));
        replace(r, &y, ms_glu(p, y, 1));
        const int64_t column[] = {ms_size(y, 1), 1};
        (void)ms_addcmul_(p, x, y, ms_reshape(p, l->scale, 2, column));
        (void)ms_release(p, mark, NULL);
    }
}

/* ---- blocks of frequencies -------------------------------------------------------------------------------------- */

/* Layers of the frequency branch that work on each frequency by itself run on a block of them at a time: what lies
 * between their operators stays in the processor's cache, and is never held for the whole spectrum. */
#define BLOCK_VALUES (INT64_C(512) * 1024)

static int64_t block_rows(const struct ms_tensor *x) {
    const int64_t row = ms_size(x, 1) * ms_size(x, 3);
    const int64_t rows = row > 0 ? BLOCK_VALUES / row : 1;
    return rows > 1 ? rows : 1;
}

/* Frequencies from..from + rows of x [1][channels][frequencies][times] -> [rows][channels][times], a copy. */
static struct ms_tensor *take_rows(struct run *r, const struct ms_tensor *x, int64_t from,
                                   int64_t rows) {
    struct ms_pool *p = r->p;
    const int64_t mark = ms_mark(p), by_frequency[] = {0, 2, 1, 3},
                  shape[] = {rows, ms_size(x, 1), ms_size(x, 3)};
    const struct ms_tensor *view = ms_permute(p, ms_narrow(p, x, 2, from, rows), 4, by_frequency);
    return ms_release(p, mark, ms_reshape(p, view, 3, shape));
}

/* The way back: y [rows][channels][times] becomes frequencies from..from + rows of x. */
static void put_rows(struct run *r, struct ms_tensor *x, int64_t from, const struct ms_tensor *y) {
    struct ms_pool *p = r->p;
    const int64_t mark = ms_mark(p), rows = ms_size(y, 0), by_channel[] = {0, 2, 1, 3},
                  shape[] = {1, rows, ms_size(y, 1), ms_size(y, 2)};
    const struct ms_tensor *turned = ms_permute(p, ms_reshape(p, y, 4, shape), 4, by_channel);
    (void)ms_copy_(p, ms_narrow(p, x, 2, from, rows), turned);
    (void)ms_release(p, mark, NULL);
}

/* ---- encoder and decoder layers ---------------------------------------------------------------------------------- */

/* Consumes x. [1][c][frequencies][times] -> [1][c'][frequencies / stride][times]; time: [1][c][frames] -> .../stride */
static struct ms_tensor *encode(struct run *r, bool freq, int index, struct ms_tensor *x) {
    struct ms_pool *p = r->p;
    const struct ms_hyper *h = &r->net->hyper;
    const struct conv_layer *l = freq ? &r->net->freq.encoder[index] : &r->net->time.encoder[index];
    const char *branch = freq ? "" : "t";
    const int padding = h->kernel_size / 4;
    if (freq) {
        replace(r, &x, ms_conv2d(p, x, l->conv.weight, l->conv.bias, h->stride, padding, 0));
    } else {
        const int64_t rest = ms_size(x, -1) % h->stride;
        if (rest != 0)
            replace(r, &x, ms_pad_right(p, x, h->stride - rest));
        replace(r, &x, ms_conv1d(p, x, l->conv.weight, l->conv.bias, h->stride, padding, 1));
    }
    trace(r, branch, "encoder", index, ".conv", x);
    x = ms_gelu_(p, x);
    if (!freq) {
        run_dconv(r, &l->dconv, x);
        replace(r, &x, ms_conv1d(p, x, l->rewrite.weight, l->rewrite.bias, 1, 0, 1));
        replace(r, &x, ms_glu(p, x, 1));
    }
    const int64_t frequencies = freq ? ms_size(x, 2) : 0, step = freq ? block_rows(x) : 1;
    for (int64_t from = 0; from < frequencies; from += step) {
        const int64_t mark = ms_mark(p);
        struct ms_tensor *y =
            take_rows(r, x, from, from + step < frequencies ? step : frequencies - from);
        run_dconv(r, &l->dconv, y);
        y = ms_conv1d(p, y, ms_squeeze(p, l->rewrite.weight, 3), l->rewrite.bias, 1, 0, 1);
        put_rows(r, x, from, ms_glu(p, y, 1));
        (void)ms_release(p, mark, NULL);
    }
    trace(r, branch, "encoder", index, "", x);
    return x;
}

/* Skip connection, rewrite convolution (context frequencies around each block are read, too), GLU and residual branch of a
 * frequency decoder. x [1][channels][frequencies][times]; the result is new. */
static struct ms_tensor *rewrite_blocks(struct run *r, const struct conv_layer *l,
                                        const struct ms_tensor *x) {
    struct ms_pool *p = r->p;
    const int context = r->net->hyper.context;
    const int64_t frequencies = ms_size(x, 2), step = block_rows(x);
    struct ms_tensor *out = ms_empty_like(p, x);
    for (int64_t from = 0; from < frequencies; from += step) {
        const int64_t mark = ms_mark(p);
        const int64_t to = from + step < frequencies ? from + step : frequencies;
        const int64_t low = from > context ? from - context : 0;
        const int64_t high = to + context < frequencies ? to + context : frequencies;
        struct ms_tensor *y = ms_narrow(p, x, 2, low, high - low);
        y = ms_conv2d(p, y, l->rewrite.weight, l->rewrite.bias, 1, context, context);
        y = take_rows(r, ms_glu(p, y, 1), from - low, to - from);
        run_dconv(r, &l->dconv, y);
        put_rows(r, out, from, y);
        (void)ms_release(p, mark, NULL);
    }
    return out;
}

/* Consumes x and skip. length: of the result along its last (time branch) dimension; ignored in the frequency branch. */
static struct ms_tensor *decode(struct run *r, bool freq, int index, struct ms_tensor *x,
                                struct ms_tensor *skip, int64_t length) {
    struct ms_pool *p = r->p;
    const struct ms_hyper *h = &r->net->hyper;
    const struct conv_layer *l = freq ? &r->net->freq.decoder[index] : &r->net->time.decoder[index];
    const char *branch = freq ? "" : "t";
    const int padding = h->kernel_size / 4;
    x = ms_add_(p, x, skip);
    ms_drop(p, skip);
    if (freq) {
        replace(r, &x, rewrite_blocks(r, l, x));
        replace(r, &x, ms_conv_transpose2d(p, x, l->conv.weight, l->conv.bias, h->stride));
        replace(r, &x, ms_narrow(p, x, 2, padding, ms_size(x, 2) - INT64_C(2) * padding));
    } else {
        replace(r, &x, ms_conv1d(p, x, l->rewrite.weight, l->rewrite.bias, 1, h->context, 1));
        replace(r, &x, ms_glu(p, x, 1));
        run_dconv(r, &l->dconv, x);
        replace(r, &x, ms_conv_transpose1d(p, x, l->conv.weight, l->conv.bias, h->stride));
        replace(r, &x, ms_narrow(p, x, 2, padding, length));
    }
    if (index < h->depth - 1)
        x = ms_gelu_(p, x);
    trace(r, branch, "decoder", index, "", x);
    return x;
}

/* ---- transformer --------------------------------------------------------------------------------------------------- */

/* x [tokens][channels] -> [heads][tokens][channels / heads] of rows from..from + channels of the joint projection */
static struct ms_tensor *project(struct run *r, const struct affine *in_proj,
                                 const struct ms_tensor *x, int part, int parts) {
    struct ms_pool *p = r->p;
    const int64_t channels = ms_size(x, 1), heads = r->net->hyper.t_heads;
    const int64_t mark = ms_mark(p);
    struct ms_tensor *w = ms_narrow(p, in_proj->weight, 0, part * channels, parts * channels);
    struct ms_tensor *b = ms_narrow(p, in_proj->bias, 0, part * channels, parts * channels);
    struct ms_tensor *y = ms_linear(p, x, w, b);
    const int64_t shape[] = {ms_size(x, 0), parts * heads, heads > 0 ? channels / heads : 0};
    const int64_t by_head[] = {1, 0, 2};
    return ms_release(p, mark, ms_permute(p, ms_reshape(p, y, 3, shape), 3, by_head));
}

/* x += scale * attention(norm(x), norm(other)); other is x itself in a self-attention layer. */
static void attend(struct run *r, const struct attention_layer *l, struct ms_tensor *x,
                   const struct ms_tensor *other) {
    struct ms_pool *p = r->p;
    const int64_t heads = r->net->hyper.t_heads;
    const int64_t mark = ms_mark(p);
    struct ms_tensor *queries = ms_layer_norm(p, x, l->norm_q.weight, l->norm_q.bias);
    struct ms_tensor *keys = l->norm_k.weight == NULL
                                 ? queries
                                 : ms_layer_norm(p, other, l->norm_k.weight, l->norm_k.bias);
    struct ms_tensor *q = project(r, &l->in_proj, queries, 0, 1);
    struct ms_tensor *kv = project(r, &l->in_proj, keys, 1, 2);
    struct ms_tensor *k = ms_narrow(p, kv, 0, 0, heads), *v = ms_narrow(p, kv, 0, heads, heads);
    struct ms_tensor *y = ms_attention(p, q, k, v); /* [tokens][channels] */
    y = ms_linear(p, y, l->out_proj.weight, l->out_proj.bias);
    (void)ms_addcmul_(p, x, y, l->gamma_1);
    (void)ms_release(p, mark, NULL);
}

static void feed_forward(struct run *r, const struct attention_layer *l, struct ms_tensor *x) {
    struct ms_pool *p = r->p;
    struct ms_tensor *y = ms_layer_norm(p, x, l->norm_ff.weight, l->norm_ff.bias);
    replace(r, &y, ms_linear(p, y, l->linear1.weight, l->linear1.bias));
    y = ms_gelu_(p, y);
    replace(r, &y, ms_linear(p, y, l->linear2.weight, l->linear2.bias));
    (void)ms_addcmul_(p, x, y, l->gamma_2);
    ms_drop(p, y);
}

/* One layer, in place: x [tokens][channels]. norm_out is a group norm with one group, over all tokens and channels. */
static struct ms_tensor *transform(struct run *r, const struct attention_layer *l,
                                   struct ms_tensor *x, const struct ms_tensor *other) {
    attend(r, l, x, other);
    feed_forward(r, l, x);
    return ms_token_norm_(r->p, x, l->norm_out.weight, l->norm_out.bias);
}

/* Consumes x [tokens][channels]: norm, and the positions added. */
static struct ms_tensor *embed(struct run *r, const struct branch *branch, struct ms_tensor *x) {
    struct ms_pool *p = r->p;
    replace(r, &x, ms_layer_norm(p, x, branch->norm_in.weight, branch->norm_in.bias));
    return ms_add_(p, x, branch->position);
}

/* Both branches' innermost activations, [1][c][frequencies][times] and [1][c][frames], are replaced.
 * Tokens of the frequency branch run over frequencies first: token = time * frequencies + frequency. The channel
 * up- and downsamplers are 1x1 convolutions: linear layers on tokens. */
static void run_transformer(struct run *r, struct ms_tensor **x_freq, struct ms_tensor **x_time) {
    const struct ms_network *net = r->net;
    const struct ms_hyper *h = &net->hyper;
    struct ms_pool *p = r->p;
    if (h->t_layers == 0 || *x_freq == NULL || *x_time == NULL)
        return;
    const int64_t channels = ms_size(*x_freq, 1), frequencies = ms_size(*x_freq, 2),
                  times = ms_size(*x_freq, 3), frames = ms_size(*x_time, 2);
    const int64_t to_tokens_freq[] = {0, 3, 2, 1}, to_tokens_time[] = {0, 2, 1};
    const int64_t tokens_freq[] = {frequencies * times, channels},
                  tokens_time[] = {frames, channels};
    replace(r, x_freq, ms_reshape(p, ms_permute(p, *x_freq, 4, to_tokens_freq), 2, tokens_freq));
    replace(r, x_time, ms_reshape(p, ms_permute(p, *x_time, 3, to_tokens_time), 2, tokens_time));
    if (h->bottom_channels > 0) {
        replace(r, x_freq,
                ms_pointwise(p, *x_freq, net->freq.upsampler.weight, net->freq.upsampler.bias));
        replace(r, x_time,
                ms_pointwise(p, *x_time, net->time.upsampler.weight, net->time.upsampler.bias));
    }
    *x_freq = embed(r, &net->freq, *x_freq);
    *x_time = embed(r, &net->time, *x_time);
    for (int i = 0; i < h->t_layers; i++) {
        /* A cross layer of the time branch sees the frequency branch as it was before its own layer. */
        const bool cross = i % 2 == 1;
        struct ms_tensor *before = cross ? ms_clone(p, *x_freq) : NULL;
        *x_freq = transform(r, &net->freq.layers[i], *x_freq, *x_time);
        trace(r, "", "crosstransformer.layers", i, "", *x_freq);
        *x_time = transform(r, &net->time.layers[i], *x_time, before);
        trace(r, "", "crosstransformer.layers_t", i, "", *x_time);
        ms_drop(p, before);
    }
    if (h->bottom_channels > 0) {
        replace(r, x_freq,
                ms_pointwise(p, *x_freq, net->freq.downsampler.weight, net->freq.downsampler.bias));
        replace(r, x_time,
                ms_pointwise(p, *x_time, net->time.downsampler.weight, net->time.downsampler.bias));
    }
    const int64_t grid[] = {1, times, frequencies, channels}, line[] = {1, frames, channels};
    replace(r, x_freq,
            ms_contiguous(p, ms_permute(p, ms_reshape(p, *x_freq, 4, grid), 4, to_tokens_freq)));
    replace(r, x_time,
            ms_contiguous(p, ms_permute(p, ms_reshape(p, *x_time, 3, line), 3, to_tokens_time)));
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

struct levels {
    double mean, std;
};

/* x = (x - mean) / (1e-5 + std), over all of x. */
static struct levels normalise(struct run *r, struct ms_tensor *x) {
    struct levels l;
    ms_mean_std(r->p, x, &l.mean, &l.std);
    const double scale = 1.0 / (1e-5 + l.std);
    (void)ms_affine_(r->p, x, scale, -l.mean * scale);
    return l;
}

struct ms_tensor *ms_htdemucs_forward(const struct ms_network *net, struct ms_pool *p,
                                      const struct ms_tensor *mix, double seconds[MS_STAGE_COUNT]) {
    struct run run = {net, p}, *r = &run;
    const struct ms_hyper *h = &net->hyper;
    struct ms_tensor *saved_freq[MS_MAX_DEPTH], *saved_time[MS_MAX_DEPTH];
    int64_t lengths[MS_MAX_DEPTH];
    double from = ms_monotonic_s(), now;

    struct ms_tensor *spectrum = ms_spectrum(p, mix, h->nfft); /* [4 re, im][nfft / 2][times] */
    trace(r, "", "_magnitude(cac)", -1, "", spectrum);
    struct ms_tensor *x = with_batch(r, spectrum);
    ms_drop(p, spectrum);
    const struct levels freq = normalise(r, x);
    struct ms_tensor *xt = with_batch(r, ms_clone(p, mix));
    const struct levels time = normalise(r, xt);
    seconds[MS_STAGE_STFT] += (now = ms_monotonic_s()) - from;
    from = now;

    for (int i = 0; i < h->depth; i++) {
        lengths[i] = ms_size(xt, -1);
        xt = encode(r, false, i, xt);
        x = encode(r, true, i, x);
        if (i == 0 && net->freq_embedding != NULL)
            x = ms_add_(p, x, net->freq_embedding);
        saved_time[i] = ms_share(p, xt);
        saved_freq[i] = ms_share(p, x);
    }
    seconds[MS_STAGE_ENCODERS] += (now = ms_monotonic_s()) - from;
    from = now;

    run_transformer(r, &x, &xt);
    seconds[MS_STAGE_TRANSFORMER] += (now = ms_monotonic_s()) - from;
    from = now;

    for (int i = 0; i < h->depth; i++) {
        const int level = h->depth - 1 - i;
        x = decode(r, true, i, x, saved_freq[level], 0);
        xt = decode(r, false, i, xt, saved_time[level], lengths[level]);
    }
    seconds[MS_STAGE_DECODERS] += (now = ms_monotonic_s()) - from;
    from = now;

    const int64_t channels = (int64_t)h->sources * h->audio_channels;
    x = ms_affine_(p, x, freq.std, freq.mean);
    const int64_t bins[] = {channels * 2, h->nfft / 2, ms_size(x, -1)},
                  frames[] = {channels, h->segment_frames};
    struct ms_tensor *out = ms_waveform(p, ms_reshape(p, x, 3, bins), h->nfft, h->segment_frames);
    xt = ms_affine_(p, xt, time.std, time.mean);
    out = ms_add_(p, out, ms_reshape(p, xt, 2, frames));
    seconds[MS_STAGE_ISTFT] += ms_monotonic_s() - from;
    trace(r, "", "(whole network)", -1, "", out);
    return out;
}
