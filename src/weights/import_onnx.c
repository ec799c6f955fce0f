/* Weights out of the ONNX form of the network. Owns nothing; any thread.
 *
 * The exporter keeps a parameter's name where an operator takes the parameter unchanged. Where it
 * had to transform one (transpose a linear layer's weight, reshape a norm's weight to broadcast),
 * the initializer has no useful name. It is found through the node that uses it, whose name is the
 * module's path and the operator. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "import.h"
#include "onnx.h"

/* ---- hyper-parameters ---- */

static bool has(const struct ms_onnx *onnx, const char *fmt, int index) {
    char name[96];
    snprintf(name, sizeof name, fmt, index); /* NOLINT: the formats stand below */
    return ms_onnx_initializer(onnx, name) != NULL;
}

static int count_of(const struct ms_onnx *onnx, const char *fmt) {
    int count = 0;
    while (count < 64 && has(onnx, fmt, count))
        count++;
    return count;
}

/* One dimension of a named initializer; 0 where there is none. */
static int dim(const struct ms_onnx *onnx, const char *name, int index) {
    const struct ms_onnx_tensor *tensor = ms_onnx_initializer(onnx, name);
    return tensor != NULL && index < tensor->dims ? (int)tensor->shape[index] : 0;
}

static int read_hyper(const struct ms_onnx *onnx, struct ms_hyper *h, struct ms_error *err) {
    *h = (struct ms_hyper){
        .audio_channels = 2,
        .samplerate = 44100,
        .channels = dim(onnx, "encoder.0.conv.weight", 0),
        .depth = count_of(onnx, "encoder.%d.conv.weight"),
        .kernel_size = dim(onnx, "encoder.0.conv.weight", 2),
        .stride = dim(onnx, "encoder.0.conv.weight", 2) / 2,
        .context = (dim(onnx, "decoder.0.rewrite.weight", 2) - 1) / 2,
        .dconv_depth = count_of(onnx, "encoder.0.dconv.layers.%d.0.weight"),
        .dconv_encoder = has(onnx, "encoder.0.dconv.layers.%d.0.weight", 0),
        .dconv_decoder = has(onnx, "decoder.0.dconv.layers.%d.0.weight", 0),
        .freq_emb = 0.2,
        .emb_scale = 10,
        .bottom_channels = dim(onnx, "channel_upsampler.weight", 0),
        .t_layers = count_of(onnx, "crosstransformer.layers.%d.norm1.weight"),
        .t_heads = 8,
        .t_max_period = 10000,
        .t_weight_pos_embed = 1,
    };
    int64_t wave[MS_ONNX_MAX_DIMS], spectrum[MS_ONNX_MAX_DIMS];
    if (ms_onnx_input_shape(onnx, 0, wave) != 3 || ms_onnx_input_shape(onnx, 1, spectrum) != 4 ||
        wave[1] != 2 || h->depth == 0 || h->channels == 0 || h->t_layers == 0)
        return ms_error_set(err, MS_EMODEL, "the ONNX graph is not a Demucs v4 network");
    h->segment_frames = (int)wave[2];
    h->nfft = spectrum[2] > 0 && spectrum[2] <= 8192 ? 2 * (int)spectrum[2] : 0;
    h->growth = h->depth > 1 ? dim(onnx, "encoder.1.conv.weight", 0) / h->channels : 1;
    int hidden = dim(onnx, "encoder.0.dconv.layers.0.0.weight", 0);
    h->dconv_comp = hidden > 0 ? h->channels / hidden : 1;
    hidden = dim(onnx, "crosstransformer.layers.0.norm1.weight", 0);
    h->t_hidden_scale =
        hidden > 0 ? (double)dim(onnx, "crosstransformer.layers.0.linear1.bias", 0) / hidden : 0;
    char last[48];
    snprintf(last, sizeof last, "tdecoder.%d.conv_tr.bias", h->depth - 1);
    h->sources = dim(onnx, last, 0) / h->audio_channels;
    return ms_hyper_check(h, err);
}

/* ---- tensors ---- */

/* The exporter's name for a module: "a.0.b.layers.1.4" -> "/a.0/b/layers.1/layers.1.4". A number
 * belongs to the word before it. A second number names a part of a sequence, for which the exporter
 * repeats the whole name. */
static void node_prefix(const char *module, char out[192]) {
    size_t segment = 0; /* where the current segment starts in out, past its '/' */
    bool numbered = false;
    size_t size = 0;
    for (const char *at = module; *at != '\0';) {
        const size_t length = strcspn(at, ".");
        const bool number = isdigit((unsigned char)*at) != 0;
        if (number && numbered) {
            const size_t repeat = size - segment;
            out[size] = '/';
            memcpy(out + size + 1, out + segment, repeat);
            segment = size + 1;
            size += repeat + 1;
        }
        out[size++] = number ? '.' : '/';
        if (!number)
            segment = size;
        numbered = number;
        memcpy(out + size, at, length);
        size += length;
        at += length + (at[length] == '.');
    }
    out[size] = '\0';
}

static float value_at(const struct ms_onnx_tensor *from, size_t index) {
    float value;
    memcpy(&value, from->values + 4 * index, sizeof value);
    return value;
}

/* Copies [columns][rows] into [rows][columns], from row `at` on. */
static void transpose(const struct ms_onnx_tensor *from, struct ms_tensors_item *to, size_t at,
                      size_t rows, size_t columns) {
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < columns; column++)
            to->values[(at + row) * columns + column] = value_at(from, column * rows + row);
}

static bool take_named(const struct ms_onnx_tensor *from, struct ms_tensors_item *to) {
    if (from->dims != to->dims ||
        memcmp(from->shape, to->shape, (size_t)to->dims * sizeof *to->shape) != 0)
        return false;
    memcpy(to->values, from->values, to->count * sizeof *to->values);
    return true;
}

/* The graph holds the embedding of the frequencies as [1][channels][frequencies][1], multiplied by
 * its scale. */
static bool take_embedding(const struct ms_onnx *onnx, const struct ms_hyper *hyper,
                           struct ms_tensors_item *to) {
    const struct ms_onnx_tensor *from = ms_onnx_node_initializer(onnx, "/Expand");
    if (from == NULL || from->count != to->count || from->dims != 4 ||
        from->shape[1] != to->shape[1])
        return false;
    transpose(from, to, 0, (size_t)to->shape[0], (size_t)to->shape[1]);
    for (size_t i = 0; i < to->count; i++)
        to->values[i] /= (float)hyper->emb_scale;
    return true;
}

/* A vector that is added is a bias; one that is multiplied is a weight or a scale. A matrix is the
 * right side of a product. Where the exporter cut a parameter into parts, they are joined again:
 * Add, Add_1, ... or MatMul, MatMul_1, ... */
static bool take_from_nodes(const struct ms_onnx *onnx, struct ms_tensors_item *to) {
    const char *part = strrchr(to->name, '.');
    const size_t length = strlen(part);
    const bool bias = length >= 4 && strcmp(part + length - 4, "bias") == 0;
    const char *operation = to->dims == 2 ? "MatMul" : bias ? "Add" : "Mul";
    const size_t columns = to->dims == 2 ? (size_t)to->shape[1] : 1;
    if (to->dims > 2)
        return false;
    char module[sizeof to->name], prefix[192], node[224];
    snprintf(module, sizeof module, "%.*s", (int)(part - to->name), to->name);
    node_prefix(module, prefix);
    size_t row = 0;
    for (int i = 0; row < (size_t)to->shape[0]; i++) {
        snprintf(node, sizeof node, i == 0 ? "%s/%s" : "%s/%s_%d", prefix, operation, i);
        const struct ms_onnx_tensor *from = ms_onnx_node_initializer(onnx, node);
        if (from == NULL || from->count % columns != 0 ||
            (to->dims == 2 && (from->dims != 2 || (size_t)from->shape[0] != columns)))
            return false;
        const size_t rows = from->count / columns;
        if (rows > (size_t)to->shape[0] - row)
            return false;
        transpose(from, to, row, rows, columns);
        row += rows;
    }
    return true;
}

static bool take(const struct ms_onnx *onnx, const struct ms_hyper *hyper,
                 struct ms_tensors_item *to) {
    const struct ms_onnx_tensor *named = ms_onnx_initializer(onnx, to->name);
    if (named != NULL)
        return take_named(named, to);
    if (strncmp(to->name, "freq_emb.", 9) == 0)
        return take_embedding(onnx, hyper, to);
    return take_from_nodes(onnx, to);
}

static int name_stems(struct ms_imported *out, int sources, struct ms_error *err) {
    static const char *const names[] = {"drums", "bass", "other", "vocals", "guitar", "piano"};
    if (sources != 4 && sources != 6)
        return ms_error_set(err, MS_EMODEL,
                            "the ONNX graph has %d stems and does not tell their names", sources);
    for (int i = 0; i < sources; i++)
        (void)snprintf(out->stems[i], sizeof out->stems[i], "%s", names[i]);
    return 0;
}

int ms_import_onnx(const uint8_t *bytes, size_t size, struct ms_imported *out,
                   struct ms_error *err) {
    memset(out, 0, sizeof *out);
    struct ms_onnx *onnx = NULL;
    int rc = ms_onnx_parse(bytes, size, &onnx, err);
    struct ms_hyper hyper;
    if (rc == 0)
        rc = read_hyper(onnx, &hyper, err);
    if (rc == 0)
        rc = name_stems(out, hyper.sources, err);
    if (rc == 0)
        rc = ms_tensors_new(&hyper, size / 4, &out->tensors, err);
    for (size_t i = 0; rc == 0 && i < out->tensors->count; i++)
        if (!take(onnx, &hyper, &out->tensors->items[i]))
            rc = ms_error_set(err, MS_EMODEL,
                              "tensor %s is not in the ONNX graph, or not in the expected shape",
                              out->tensors->items[i].name);
    if (rc != 0) {
        ms_tensors_free(out->tensors);
        out->tensors = NULL;
    }
    ms_onnx_free(onnx);
    return rc;
}
