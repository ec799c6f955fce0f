/* Weights out of upstream's own package: {"klass", "args", "kwargs", "state", ...} in a pickle,
 * with the tensors' values in other members of the same zip. Owns nothing; any thread.
 *
 * kwargs are those of HTDemucs' constructor. Each is a hyper-parameter, must have the only value
 * that is supported, or matters to training only. Unknown ones are refused, since they might change
 * the network. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "import.h"
#include "pickle.h"
#include "zip.h"

/* ---- hyper-parameters ---- */

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

static int read_hyper(const struct ms_pickle_value *package, struct ms_imported *out,
                      struct ms_hyper *hyper, struct ms_error *err) {
    const struct ms_pickle_value *klass = ms_pickle_get(package, "klass");
    const struct ms_pickle_value *args = ms_pickle_get(package, "args");
    const struct ms_pickle_value *kwargs = ms_pickle_get(package, "kwargs");
    if (klass == NULL || klass->type != MS_PICKLE_NAME ||
        !ms_pickle_is_text(klass, "demucs.htdemucs\nHTDemucs"))
        return ms_error_set(err, MS_EMODEL, "it is not a package of demucs.htdemucs.HTDemucs");
    if (args == NULL || args->type != MS_PICKLE_TUPLE || args->count != 0 || kwargs == NULL ||
        kwargs->type != MS_PICKLE_DICT)
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

/* ---- tensors ---- */

/* The zip member with a storage's values, in data/ beside the pickle. */
static const struct ms_zip_entry *find_storage(const struct ms_zip *zip,
                                               const struct ms_zip_entry *pickle,
                                               const struct ms_pickle_value *storage) {
    const size_t folder = pickle->name_size - strlen("data.pkl");
    char name[256];
    if (folder + strlen("data/") + storage->text_size > sizeof name)
        return NULL;
    memcpy(name, pickle->name, folder);
    memcpy(name + folder, "data/", 5);
    memcpy(name + folder + 5, storage->text, storage->text_size);
    return ms_zip_find(zip, name, folder + 5 + storage->text_size);
}

static float value_at(const uint8_t *bytes, bool half, uint64_t index) {
    uint16_t bits;
    if (half) {
        memcpy(&bits, bytes + 2 * index, sizeof bits);
        return ms_half_to_float(bits);
    }
    float value;
    memcpy(&value, bytes + 4 * index, sizeof value);
    return value;
}

/* Walks the tensor's strides through the storage in C order. */
static bool copy_values(const struct ms_pickle_tensor *from, const uint8_t *bytes,
                        uint64_t available, bool half, struct ms_tensors_item *to) {
    uint64_t last = (uint64_t)from->offset;
    for (int i = 0; i < from->dims; i++) {
        uint64_t reach;
        if (__builtin_mul_overflow((uint64_t)(from->shape[i] - 1), (uint64_t)from->stride[i],
                                   &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return false;
    }
    if (last >= available)
        return false;
    int64_t index[MS_PICKLE_MAX_DIMS] = {0};
    for (size_t i = 0; i < to->count; i++) {
        int64_t at = from->offset;
        int dim = from->dims - 1;
        for (int j = 0; j < from->dims; j++)
            at += index[j] * from->stride[j];
        to->values[i] = value_at(bytes, half, (uint64_t)at);
        while (dim >= 0 && ++index[dim] == from->shape[dim])
            index[dim--] = 0;
    }
    return true;
}

static int take_tensor(const struct ms_zip *zip, const struct ms_zip_entry *pickle,
                       const struct ms_pickle_value *value, struct ms_tensors_item *to,
                       struct ms_error *err) {
    if (value == NULL || value->type != MS_PICKLE_TENSOR)
        return ms_error_set(err, MS_EMODEL, "tensor %s is missing", to->name);
    if (value->tensor->dims != to->dims ||
        memcmp(value->tensor->shape, to->shape, (size_t)to->dims * sizeof *to->shape) != 0)
        return ms_error_set(err, MS_EMODEL,
                            "tensor %s does not have the shape that the hyper-parameters ask for",
                            to->name);
    const struct ms_pickle_value *storage = value->items[0];
    const struct ms_zip_entry *member = find_storage(zip, pickle, storage);
    if (member == NULL || !copy_values(value->tensor, member->bytes,
                                       member->size / (storage->half ? 2 : 4), storage->half, to))
        return ms_error_set(err, MS_EMODEL, "tensor %s: its values are not in the file", to->name);
    return 0;
}

static int take_tensors(const struct ms_zip *zip, const struct ms_zip_entry *pickle,
                        const struct ms_pickle_value *state, struct ms_tensors *tensors,
                        struct ms_error *err) {
    if (state == NULL || state->type != MS_PICKLE_DICT)
        return ms_error_set(err, MS_EMODEL, "the package holds no weights");
    if (ms_pickle_get(state, "__quantized") != NULL)
        return ms_error_set(err, MS_EMODEL,
                            "the weights are quantized (diffq): that is not supported");
    if (state->count / 2 != tensors->count)
        return ms_error_set(err, MS_EMODEL,
                            "there are %zu tensors, but the hyper-parameters ask for %zu",
                            state->count / 2, tensors->count);
    for (size_t i = 0; i < tensors->count; i++) {
        struct ms_tensors_item *to = &tensors->items[i];
        const int rc = take_tensor(zip, pickle, ms_pickle_get(state, to->name), to, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- the file ---- */

/* FOLDER/data.pkl, in a folder of any name */
static const struct ms_zip_entry *find_pickle(const struct ms_zip *zip) {
    static const char name[] = "/data.pkl";
    const size_t size = sizeof name - 1;
    for (size_t i = 0; i < zip->count; i++) {
        const struct ms_zip_entry *entry = &zip->entries[i];
        if (entry->name_size > size &&
            memcmp(entry->name + entry->name_size - size, name, size) == 0 &&
            memchr(entry->name, '/', entry->name_size - size) == NULL)
            return entry;
    }
    return NULL;
}

static bool is_big_endian(const struct ms_zip *zip, const struct ms_zip_entry *pickle) {
    const size_t folder = pickle->name_size - strlen("data.pkl");
    char name[256];
    if (folder + strlen("byteorder") > sizeof name)
        return false;
    memcpy(name, pickle->name, folder);
    memcpy(name + folder, "byteorder", strlen("byteorder"));
    const struct ms_zip_entry *order = ms_zip_find(zip, name, folder + strlen("byteorder"));
    return order != NULL && (order->size != 6 || memcmp(order->bytes, "little", 6) != 0);
}

int ms_import_th(const uint8_t *bytes, size_t size, struct ms_imported *out, struct ms_error *err) {
    struct ms_pickle *pickle = NULL;
    memset(out, 0, sizeof *out);
    struct ms_zip zip;
    int rc = ms_zip_open(&zip, bytes, size, err);
    if (rc != 0)
        return rc;
    const struct ms_zip_entry *member = find_pickle(&zip);
    if (member == NULL || is_big_endian(&zip, member)) {
        rc = ms_error_set(err, MS_EMODEL,
                          "torch did not write the zip archive, or did so on a big-endian machine");
        goto out;
    }
    rc = ms_pickle_parse(member->bytes, member->size, &pickle, err);
    struct ms_hyper hyper;
    if (rc == 0)
        rc = read_hyper(ms_pickle_root(pickle), out, &hyper, err);
    if (rc == 0)
        rc = ms_tensors_new(&hyper, size / 2, &out->tensors, err);
    if (rc == 0)
        rc = take_tensors(&zip, member, ms_pickle_get(ms_pickle_root(pickle), "state"),
                          out->tensors, err);
out:
    if (rc != 0) {
        ms_tensors_free(out->tensors);
        out->tensors = NULL;
    }
    ms_pickle_free(pickle);
    ms_zip_close(&zip);
    return rc;
}
