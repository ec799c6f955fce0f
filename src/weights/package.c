/* What upstream's packages say of their network: its class, and the parameters of its constructor.
 * Owns nothing; any thread.
 *
 * kwargs are those of HTDemucs' constructor. Each is a hyper-parameter, must have the only value
 * that is supported, or matters to training only. Unknown ones are refused, since they might change
 * the network. */
#include "package.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "msaas/model_json.h"

static const struct {
    const char *name;
    size_t offset; /* in struct ms_hyper */
    bool real;
} numbers[] = {
#define NUMBER(kwarg, field, real) {kwarg, offsetof(struct ms_hyper, field), real}
    NUMBER("audio_channels", audio_channels, false),
    NUMBER("samplerate", samplerate, false),
    NUMBER("channels", channels, false),
    NUMBER("growth", growth, false),
    NUMBER("depth", depth, false),
    NUMBER("nfft", nfft, false),
    NUMBER("kernel_size", kernel_size, false),
    NUMBER("stride", stride, false),
    NUMBER("context", context, false),
    NUMBER("dconv_depth", dconv_depth, false),
    NUMBER("dconv_comp", dconv_comp, false),
    NUMBER("freq_emb", freq_emb, true),
    NUMBER("emb_scale", emb_scale, true),
    NUMBER("bottom_channels", bottom_channels, false),
    NUMBER("t_layers", t_layers, false),
    NUMBER("t_heads", t_heads, false),
    NUMBER("t_hidden_scale", t_hidden_scale, true),
    NUMBER("t_max_period", t_max_period, true),
    NUMBER("t_weight_pos_embed", t_weight_pos_embed, true),
#undef NUMBER
};

/* The constructor's defaults. */
static const struct ms_hyper defaults = {
    .audio_channels = 2,
    .samplerate = 44100,
    .channels = 48,
    .growth = 2,
    .depth = 4,
    .nfft = 4096,
    .kernel_size = 8,
    .stride = 4,
    .context = 1,
    .dconv_depth = 2,
    .dconv_comp = 8,
    .freq_emb = 0.2,
    .emb_scale = 10,
    .t_layers = 5,
    .t_heads = 8,
    .t_hidden_scale = 4,
    .t_max_period = 10000,
    .t_weight_pos_embed = 1,
};
#define DEFAULT_DCONV_MODE 1
#define DEFAULT_SEGMENT_S 10

/* Other parameters that change the network, each with the only value that is supported. */
enum fixed_value { IS_FALSE, IS_TRUE, IS_NONE, IS_ZERO, IS_SIN };

static const struct {
    const char *name;
    enum fixed_value value;
} fixed[] = {
    {"channels_time", IS_NONE},
    {"cac", IS_TRUE},
    {"rewrite", IS_TRUE},
    {"multi_freqs", IS_NONE},
    {"context_enc", IS_ZERO},
    {"t_emb", IS_SIN},
    {"t_norm_in", IS_TRUE},
    {"t_norm_in_group", IS_FALSE},
    {"t_group_norm", IS_FALSE},
    {"t_norm_first", IS_TRUE},
    {"t_norm_out", IS_TRUE},
    {"t_layer_scale", IS_TRUE},
    {"t_gelu", IS_TRUE},
    {"t_sparse_self_attn", IS_FALSE},
    {"t_sparse_cross_attn", IS_FALSE},
    {"t_cross_first", IS_FALSE},
    {"use_train_segment", IS_TRUE},
};

/* Parameters without effect on a trained network whose `fixed` parameters have those values. */
static const char *const unused[] = {
    "wiener_iters",
    "end_iters",
    "wiener_residual",
    "multi_freqs_depth",
    "emb_smooth",
    "time_stride",
    "norm_groups",
    "dconv_init",
    "t_dropout",
    "t_max_positions",
    "t_weight_decay",
    "t_lr",
    "t_sin_random_shift",
    "t_mask_type",
    "t_mask_random_seed",
    "t_sparse_attn_window",
    "t_global_window",
    "t_sparsity",
    "t_auto_sparsity",
    "rescale",
    "t_cape_mean_normalize",
    "t_cape_augment",
    "t_cape_glob_loc_scale",
};

static bool number_of(const struct ms_pickle_value *value, double *out) {
    switch (value->type) {
    case MS_PICKLE_INT: *out = (double)value->integer; return true;
    case MS_PICKLE_FLOAT: *out = value->real; return isfinite(value->real);
    case MS_PICKLE_FRACTION:
        *out = (double)value->integer / (double)value->denominator;
        return true;
    default: return false;
    }
}

static bool is_fixed_value(const struct ms_pickle_value *value, enum fixed_value expected) {
    switch (expected) {
    case IS_FALSE: return value->type == MS_PICKLE_BOOL && value->integer == 0;
    case IS_TRUE: return value->type == MS_PICKLE_BOOL && value->integer == 1;
    case IS_NONE:
        return value->type == MS_PICKLE_NONE ||
               (value->type == MS_PICKLE_LIST && value->count == 0);
    case IS_ZERO: return value->type == MS_PICKLE_INT && value->integer == 0;
    default: return ms_pickle_is_text(value, "sin");
    }
}

static int unsupported(const char *name, struct ms_error *err) {
    return ms_error_set(err, MS_EMODEL, "HTDemucs(%s=...): that value is not supported", name);
}

/* 1: it was one of the numbers; 0: it was not; < 0: an error. */
static int take_number(const char *name, const struct ms_pickle_value *value,
                       struct ms_hyper *hyper, struct ms_error *err) {
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        void *field = (char *)hyper + numbers[i].offset;
        if (strcmp(name, numbers[i].name) != 0)
            continue;
        double number;
        if (!number_of(value, &number) || number < 0 || number > 1e9 ||
            (!numbers[i].real && number != floor(number)))
            return unsupported(name, err);
        if (numbers[i].real)
            *(double *)field = number;
        else
            *(int *)field = (int)number;
        return 1;
    }
    return 0;
}

static int take_stems(const struct ms_pickle_value *list, struct ms_imported *out, int *count,
                      struct ms_error *err) {
    if ((list->type != MS_PICKLE_LIST && list->type != MS_PICKLE_TUPLE) || list->count < 1 ||
        list->count > MS_MODEL_MAX_STEMS)
        return unsupported("sources", err);
    for (size_t i = 0; i < list->count; i++) {
        const struct ms_pickle_value *stem = list->items[i];
        if (stem->type != MS_PICKLE_TEXT || stem->text_size == 0 ||
            stem->text_size >= sizeof out->stems[0] ||
            memchr(stem->text, '\0', stem->text_size) != NULL)
            return unsupported("sources", err);
        memcpy(out->stems[i], stem->text, stem->text_size); /* all zeros before */
    }
    *count = (int)list->count;
    return 0;
}

static int take_kwarg(const char *name, const struct ms_pickle_value *value,
                      struct ms_imported *out, struct ms_hyper *hyper, struct ms_error *err) {
    if (strcmp(name, "sources") == 0)
        return take_stems(value, out, &hyper->sources, err);
    if (strcmp(name, "segment") == 0)
        return 0; /* read afterwards: it needs the sample rate */
    if (strcmp(name, "dconv_mode") == 0) {
        if (value->type != MS_PICKLE_INT || value->integer < 0 || value->integer > 3)
            return unsupported(name, err);
        hyper->dconv_encoder = value->integer & 1;
        hyper->dconv_decoder = value->integer & 2;
        return 0;
    }
    double number;
    if (strcmp(name, "norm_starts") == 0) /* the first layer with norms: there must be none */
        return number_of(value, &number) && number >= 4 ? 0 : unsupported(name, err);
    const int rc = take_number(name, value, hyper, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (strcmp(name, fixed[i].name) == 0)
            return is_fixed_value(value, fixed[i].value) ? 0 : unsupported(name, err);
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
        if (strcmp(name, unused[i]) == 0)
            return 0;
    return ms_error_set(err, MS_EMODEL, "HTDemucs(%.60s=...): that parameter is not known", name);
}

/* int(segment * samplerate), exactly where the segment is a fraction */
static int take_segment(const struct ms_pickle_value *segment, struct ms_hyper *hyper,
                        struct ms_error *err) {
    double seconds = DEFAULT_SEGMENT_S;
    if (segment != NULL && (!number_of(segment, &seconds) || !(seconds > 0 && seconds <= 60)))
        return unsupported("segment", err);
    if (hyper->samplerate < 1 || hyper->samplerate > 192000)
        return unsupported("samplerate", err);
    if (segment != NULL && segment->type == MS_PICKLE_FRACTION && segment->integer <= INT32_MAX)
        hyper->segment_frames = (int)(segment->integer * hyper->samplerate / segment->denominator);
    else
        hyper->segment_frames = (int)(seconds * hyper->samplerate);
    return 0;
}

int ms_package_hyper(const char *klass, const struct ms_pickle_value *args,
                     const struct ms_pickle_value *kwargs, struct ms_imported *out,
                     struct ms_hyper *hyper, struct ms_error *err) {
    static const char known[] = "demucs.htdemucs.HTDemucs";
    if (strcmp(klass, known) != 0)
        return ms_error_set(err, MS_EMODEL,
                            "its network is of class %.100s; only %s can be imported",
                            ms_model_name_is_plain(klass) ? klass : "(not a name)", known);
    if (args == NULL || (args->type != MS_PICKLE_TUPLE && args->type != MS_PICKLE_LIST) ||
        args->count != 0 || kwargs == NULL || kwargs->type != MS_PICKLE_DICT)
        return ms_error_set(err, MS_EMODEL,
                            "the package does not name the constructor's parameters");
    *hyper = defaults;
    hyper->dconv_encoder = DEFAULT_DCONV_MODE & 1;
    hyper->dconv_decoder = DEFAULT_DCONV_MODE & 2;
    for (size_t i = 0; i + 1 < kwargs->count; i += 2) {
        const struct ms_pickle_value *key = kwargs->items[i];
        char name[64];
        if (key->type != MS_PICKLE_TEXT || key->text_size >= sizeof name)
            return ms_error_set(err, MS_EMODEL,
                                "a parameter of the constructor has no name, or too long a name");
        snprintf(name, sizeof name, "%.*s", (int)key->text_size, key->text);
        const int rc = take_kwarg(name, kwargs->items[i + 1], out, hyper, err);
        if (rc != 0)
            return rc;
    }
    if (take_segment(ms_pickle_get(kwargs, "segment"), hyper, err) != 0)
        return MS_EMODEL;
    return ms_hyper_check(hyper, err);
}
