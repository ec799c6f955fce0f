/* The network: mix -> (spectrum, waveform) -> encoders -> cross-domain transformer -> decoders
 * -> sources. A formula on the operators of tensor.h, after demucs/htdemucs.py, hdemucs.py,
 * demucs.py and transformer.py of Demucs v4. Runs on the session's thread; owns nothing but the
 * activations it drops on its way.
 *
 * Activations have their channels last: frequency branch [batch][frequencies][times][channels],
 * time branch [batch][1][frames][channels], so that one formula does for both. */
#include "htdemucs.h"

#include <stdio.h>

#include "msaas/sys.h"

void (*ms_htdemucs_trace)(const char *module, struct ms_pool *p, const struct ms_tensor *x);

struct run {
    const struct ms_member *net;
    struct ms_pool *p;
};

/* Shown as the published network has it: channels first. */
static void trace(struct run *r, const char *branch, const char *module, int index,
                  const char *part, const struct ms_tensor *x) {
    if (ms_htdemucs_trace == NULL)
        return;
    char name[96];
    if (index < 0)
        (void)snprintf(name, sizeof name, "%s%s", module, branch);
    else
        (void)snprintf(name, sizeof name, "%s%s.%d%s", branch, module, index, part);
    const int64_t mark = ms_pool_mark(r->p), channels_first[] = {0, 3, 1, 2};
    ms_htdemucs_trace(name, r->p, ms_tensor_permute(r->p, x, 4, channels_first));
    (void)ms_pool_release(r->p, mark, NULL);
}

/* Tokens stay as they are. */
static void trace_tokens(struct run *r, const char *module, int index, const struct ms_tensor *x) {
    if (ms_htdemucs_trace == NULL)
        return;
    char name[96];
    (void)snprintf(name, sizeof name, "%s.%d", module, index);
    ms_htdemucs_trace(name, r->p, x);
}

/* Drops *x and puts y in its place. */
static void replace(struct run *r, struct ms_tensor **x, struct ms_tensor *y) {
    ms_tensor_drop(r->p, *x);
    *x = y;
}

/* ---- encoder and decoder layers ---- */

/* Consumes x. Frequencies, or frames, become fewer by the stride. */
static struct ms_tensor *encode(struct run *r, bool freq, int index, struct ms_tensor *x) {
    const struct branch *b = freq ? &r->net->freq : &r->net->time;
    const char *branch = freq ? "" : "t";
    replace(r, &x, ms_run_layer(r->p, x, &b->encoder[index]));
    trace(r, branch, "encoder", index, "", x);
    return x;
}

/* Consumes x and skip. length: frequencies, or frames, of the result. */
static struct ms_tensor *decode(struct run *r, bool freq, int index, struct ms_tensor *x,
                                struct ms_tensor *skip, int64_t length) {
    const struct branch *b = freq ? &r->net->freq : &r->net->time;
    const char *branch = freq ? "" : "t";
    x = ms_add_(r->p, x, skip);
    ms_tensor_drop(r->p, skip);
    replace(r, &x, ms_run_layer(r->p, x, &b->decoder[index].rewrite));
    replace(r, &x, ms_convolve_transposed(r->p, x, b->decoder[index].conv, length));
    trace(r, branch, "decoder", index, "", x);
    return x;
}

/* ---- transformer ---- */

/* x += gamma_1 * attention(norm(x), norm(other)); other is x itself in a layer that is not
 * cross. */
static void attend(struct run *r, const struct attention_layer *l, struct ms_tensor *x,
                   const struct ms_tensor *other) {
    struct ms_pool *p = r->p;
    const int64_t mark = ms_pool_mark(p), channels = ms_tensor_size(x, -1);
    const int heads = r->net->hyper.t_heads;
    struct ms_tensor *q = ms_linear(p, &l->norm_q, x, l->in_q);
    struct ms_tensor *y;
    if (l->cross)
        y = ms_attend(p, q, ms_linear(p, &l->norm_kv, other, l->in_k), 0,
                      ms_linear(p, &l->norm_kv, other, l->in_v), 0, channels, heads, r->net->bf16);
    else
        y = ms_attend(p, q, q, channels, q, 2 * channels, channels, heads, r->net->bf16);
    (void)ms_convolve_add_(p, x, y, l->out, l->gamma_1);
    (void)ms_pool_release(p, mark, NULL);
}

/* One layer, in place. */
static struct ms_tensor *transform(struct run *r, const struct attention_layer *l,
                                   struct ms_tensor *x, const struct ms_tensor *other) {
    attend(r, l, x, other);
    (void)ms_feed_forward_(r->p, &l->norm_ff, x, l->linear1, l->linear2, l->gamma_2);
    return ms_group_norm_(r->p, x, l->norm_out.weight, l->norm_out.bias);
}

/* Consumes x [batch][rows][width][channels] -> tokens [batch][1][rows * width][transformer's
 * channels], normalised, with their positions. A token's place in the row does not matter to
 * what follows. */
static struct ms_tensor *to_tokens(struct run *r, const struct branch *branch,
                                   struct ms_tensor *x) {
    struct ms_pool *p = r->p;
    const int64_t tokens[] = {ms_tensor_size(x, 0), 1, ms_tensor_size(x, 1) * ms_tensor_size(x, 2),
                              ms_tensor_size(x, 3)};
    replace(r, &x, ms_tensor_reshape(p, x, 4, tokens));
    if (branch->upsampler != NULL)
        replace(r, &x, ms_convolve(p, x, branch->upsampler));
    replace(r, &x, ms_layer_norm(p, x, branch->norm_in.weight, branch->norm_in.bias));
    return ms_add_(p, x, branch->position);
}

/* The way back; consumes x. */
static struct ms_tensor *from_tokens(struct run *r, const struct branch *branch,
                                     struct ms_tensor *x, int64_t rows) {
    if (branch->downsampler != NULL)
        replace(r, &x, ms_convolve(r->p, x, branch->downsampler));
    const int64_t grid[] = {ms_tensor_size(x, 0), rows, ms_tensor_size(x, 2) / rows,
                            ms_tensor_size(x, 3)};
    replace(r, &x, ms_tensor_reshape(r->p, x, 4, grid));
    return x;
}

/* Both branches' innermost activations are replaced. */
static void run_transformer(struct run *r, struct ms_tensor **x_freq, struct ms_tensor **x_time) {
    const struct ms_member *net = r->net;
    if (net->hyper.t_layers == 0 || *x_freq == NULL || *x_time == NULL)
        return;
    const int64_t frequencies = ms_tensor_size(*x_freq, 1);
    *x_freq = to_tokens(r, &net->freq, *x_freq);
    *x_time = to_tokens(r, &net->time, *x_time);
    for (int i = 0; i < net->hyper.t_layers; i++) {
        /* A cross layer of the time branch sees the frequency branch as it was before its own
         * layer. */
        struct ms_tensor *before =
            net->time.layers[i].cross ? ms_tensor_clone(r->p, *x_freq) : NULL;
        *x_freq = transform(r, &net->freq.layers[i], *x_freq, *x_time);
        trace_tokens(r, "crosstransformer.layers", i, *x_freq);
        *x_time = transform(r, &net->time.layers[i], *x_time, before);
        trace_tokens(r, "crosstransformer.layers_t", i, *x_time);
        ms_tensor_drop(r->p, before);
    }
    *x_freq = from_tokens(r, &net->freq, *x_freq, frequencies);
    *x_time = from_tokens(r, &net->time, *x_time, 1);
}

/* ---- the whole ---- */

/* mix [batch][channels][frames] -> [batch][1][frames][channels] */
static struct ms_tensor *time_input(struct run *r, const struct ms_tensor *mix) {
    const int64_t mark = ms_pool_mark(r->p), turn[] = {0, 2, 1},
                  shape[] = {ms_tensor_size(mix, 0), 1, ms_tensor_size(mix, 2),
                             ms_tensor_size(mix, 1)};
    return ms_pool_release(
        r->p, mark, ms_tensor_reshape(r->p, ms_tensor_permute(r->p, mix, 3, turn), 4, shape));
}

struct ms_tensor *ms_htdemucs_forward(const struct ms_member *net, struct ms_pool *p,
                                      const struct ms_tensor *mix, double seconds[MS_STAGE_COUNT]) {
    struct run run = {net, p}, *r = &run;
    const struct ms_hyper *h = &net->hyper;
    struct ms_tensor *saved_freq[MS_HYPER_MAX_DEPTH], *saved_time[MS_HYPER_MAX_DEPTH];
    int64_t frequencies[MS_HYPER_MAX_DEPTH], frames[MS_HYPER_MAX_DEPTH];
    double from = ms_monotonic_s(), now;

    struct ms_tensor *x = ms_spectrum(p, mix, h->nfft);
    trace(r, "", "_magnitude(cac)", -1, "", x);
    struct ms_tensor *freq_levels = ms_normalise_(p, x);
    struct ms_tensor *xt = time_input(r, mix);
    struct ms_tensor *time_levels = ms_normalise_(p, xt);
    seconds[MS_STAGE_STFT] += (now = ms_monotonic_s()) - from;
    from = now;

    for (int i = 0; i < h->depth; i++) {
        frequencies[i] = ms_tensor_size(x, 1);
        frames[i] = ms_tensor_size(xt, 2);
        xt = encode(r, false, i, xt);
        x = encode(r, true, i, x);
        if (i == 0 && net->freq_embedding != NULL)
            x = ms_add_(p, x, net->freq_embedding);
        saved_time[i] = ms_tensor_share(p, xt);
        saved_freq[i] = ms_tensor_share(p, x);
    }
    seconds[MS_STAGE_ENCODERS] += (now = ms_monotonic_s()) - from;
    from = now;

    run_transformer(r, &x, &xt);
    seconds[MS_STAGE_TRANSFORMER] += (now = ms_monotonic_s()) - from;
    from = now;

    for (int i = 0; i < h->depth; i++) {
        const int level = h->depth - 1 - i;
        x = decode(r, true, i, x, saved_freq[level], frequencies[level]);
        xt = decode(r, false, i, xt, saved_time[level], frames[level]);
    }
    seconds[MS_STAGE_DECODERS] += (now = ms_monotonic_s()) - from;
    from = now;

    struct ms_tensor *out = ms_waveform(p, x, freq_levels, xt, time_levels, h->nfft);
    seconds[MS_STAGE_ISTFT] += ms_monotonic_s() - from;
    if (ms_htdemucs_trace != NULL)
        ms_htdemucs_trace("(whole network)", p, out);
    return out;
}
