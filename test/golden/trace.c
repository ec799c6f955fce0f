/* One forward pass of the published network, module by module, against the trace of the reference
 * implementation. trace MODEL GOLDEN_FOLDER MODEL: as for --model, found in MSAAS_MODELS_DIR or its
 * default. GOLDEN_FOLDER holds forward_trace.json and pop20/mix.wav, whose first segment,
 * normalised by the whole clip, was its input. Exit code 77: the folder is not there. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/demucs/backend.h"
#include "../../src/demucs/network/htdemucs.h"
#include "msaas/audio.h"
#include "msaas/json.h"
#include "msaas/model.h"
#include "msaas/process.h"
#include "msaas/sys.h"

#define MODULES 28     /* that the network shows */
#define SHOWN 8        /* values that the trace lists from the start of a tensor */
#define TOLERANCE 2e-4 /* of the module's standard deviation, or of 1 where that is smaller */

static const struct ms_json *modules;
static int compared, wrong;

static double number(const struct ms_json *node) {
    double value = NAN;
    (void)ms_json_double(node, &value);
    return value;
}

static const struct ms_json *find(const char *module) {
    const struct ms_json *m = ms_json_first(modules);
    for (; m != NULL; m = ms_json_next(m))
        if (strcmp(ms_json_string(ms_json_get(m, "module")), module) == 0)
            return m;
    return NULL;
}

static void check(const char *module, const char *what, double got, double expected, double scale) {
    if (fabs(got - expected) <= TOLERANCE * fmax(scale, 1.0))
        return;
    wrong++;
    (void)fprintf(stderr, "%s: %s is %.7g, not %.7g\n", module, what, got, expected);
}

/* Linked in here, not loaded: the trace is a variable of the library's. */
int ms_backend_open(const struct ms_backend **out, struct ms_error *err) {
    (void)err;
    *out = &ms_torch_backend;
    return 0;
}

static void compare(const char *module, struct ms_pool *p, const struct ms_tensor *x) {
    const struct ms_json *m = find(module);
    if (m == NULL) {
        wrong++;
        (void)fprintf(stderr, "%s: not in the reference's trace\n", module);
        return;
    }
    size_t count = 1;
    for (int i = 0; i < ms_tensor_dims(x); i++)
        count *= (size_t)ms_tensor_size(x, i);
    float *values = malloc(sizeof *values * count);
    if (values == NULL)
        abort();
    ms_tensor_to_f32(p, x, values);
    double sum = 0.0, squares = 0.0, largest = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    const double mean = sum / (double)count;
    for (size_t i = 0; i < count; i++) {
        squares += (values[i] - mean) * (values[i] - mean);
        largest = fmax(largest, fabs((double)values[i]));
    }
    const double scale = number(ms_json_get(m, "std"));
    check(module, "the mean", mean, number(ms_json_get(m, "mean")), scale);
    check(module, "the standard deviation", sqrt(squares / (double)(count - 1)), scale, scale);
    check(module, "the largest magnitude", largest, number(ms_json_get(m, "absmax")), scale);
    const struct ms_json *first = ms_json_first(ms_json_get(m, "first"));
    for (int i = 0; i < SHOWN && first != NULL; i++, first = ms_json_next(first))
        check(module, "a value", values[i], number(first), scale);
    free(values);
    compared++;
}

static char *read_text(const char *folder, const char *name, size_t *size) {
    char *path = ms_strdupf("%s/%s", folder, name);
    FILE *file = path != NULL ? fopen(path, "rb") : NULL;
    char *text = malloc(1 << 20);
    if (file == NULL || text == NULL)
        abort();
    *size = fread(text, 1, 1 << 20, file);
    (void)fclose(file);
    free(path);
    return text;
}

/* The first segment of the clip, normalised by the mean and standard deviation of the whole. */
static float *read_mix(const char *folder, int segment_frames, struct ms_error *err) {
    enum { CAPACITY = 1 << 20 };
    char *path = ms_strdupf("%s/pop20/mix.wav", folder);
    float *clip = malloc(sizeof *clip * 2 * CAPACITY);
    float *mix = malloc(sizeof *mix * 2 * (size_t)segment_frames);
    struct ms_decoder *decoder = NULL;
    size_t total = 0, got = 1;
    if (path == NULL || clip == NULL || mix == NULL ||
        ms_decoder_open(path, 44100, &decoder, err) != 0)
        abort();
    while (got > 0) {
        float *const planes[] = {clip + total, clip + CAPACITY + total};
        if (ms_decoder_read(decoder, planes, CAPACITY - total, &got, err) != 0)
            abort();
        total += got;
    }
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < total; i++)
        sum += ((double)clip[i] + (double)clip[CAPACITY + i]) / 2;
    const double mean = sum / (double)total;
    for (size_t i = 0; i < total; i++) {
        const double d = ((double)clip[i] + (double)clip[CAPACITY + i]) / 2 - mean;
        squares += d * d;
    }
    const double std = sqrt(squares / (double)(total - 1));
    for (int i = 0; i < segment_frames; i++) {
        mix[i] = (float)((clip[i] - mean) / std);
        mix[segment_frames + i] = (float)((clip[CAPACITY + i] - mean) / std);
    }
    ms_decoder_free(decoder);
    free(clip);
    free(path);
    return mix;
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    struct ms_error err = {0};
    struct ms_network *network = NULL;
    double seconds[MS_STAGE_COUNT] = {0};
    struct ms_session *session = NULL;
    struct ms_json *trace = NULL;
    size_t size = 0;
    if (argc != 3)
        return 2;
    if (access(argv[2], R_OK) != 0) {
        (void)printf("skipped: no reference results at %s\n", argv[2]);
        return 77;
    }
    char *text = read_text(argv[2], "forward_trace.json", &size);
    float *mix = NULL, *out = NULL;
    char *models = NULL, *path = NULL;
    ms_process_prepare();
    if (ms_json_parse(text, size, &trace, &err) != 0 ||
        ms_models_dir(getenv("MSAAS_MODELS_DIR"), &models, &err) != 0 ||
        ms_model_locate(models, argv[1], &path, &err) != 0 ||
        ms_network_open(path, "cpu", MS_PRECISION_FLOAT32, &network, &err) != 0 ||
        network->ops->session_new(network, &session, &err) != 0)
        goto out;
    modules = trace;
    const int frames = network->info.segment_frames;
    mix = read_mix(argv[2], frames, &err);
    out = malloc(sizeof *out * 8 * (size_t)frames);
    if (out == NULL)
        abort();
    ms_htdemucs_trace = compare;
    if (network->ops->forward(session, 0, 1, mix, out, seconds, &err) == 0)
        (void)printf("%d modules compared, %d values wrong\n", compared, wrong);
out:
    if (err.code != 0)
        (void)fprintf(stderr, "%s\n", err.text);
    free(out);
    free(mix);
    free(text);
    free(models);
    free(path);
    if (network != NULL)
        network->ops->session_free(session);
    ms_network_free(network);
    ms_json_free(trace);
    return err.code == 0 && wrong == 0 && compared == MODULES ? 0 : 1;
}
