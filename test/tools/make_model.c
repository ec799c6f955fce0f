/* Writes a model of random weights: NAME.json and its safetensors files, for tests that need a
 * network of any form and not a good one. The same options give the same bytes. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/model_json.h"
#include "msaas/sys.h"
#include "safetensors.h"
#include "tensors.h"

static const char usage[] =
    "make_model [options] FOLDER: write a model of random weights\n"
    "  --tiny                 a very quick network (then changed by the options after it)\n"
    "  --name NAME            default: random\n"
    "  --stems a,b,...        default: drums,bass,other,vocals\n"
    "  --networks N           a bag; N = the number of stems: each network serves one stem, else "
    "the mean\n"
    "  --seed N --float32     other values; values that float16 cannot hold\n"
    "  --channels N --growth N --depth N --nfft N --bottom N --layers N --heads N --hidden-scale "
    "X\n"
    "  --context N --dconv-depth N --dconv-comp N --dconv-mode 0|1|2|3\n"
    "  --segment-frames N --samplerate N\n";

static const struct ms_hyper published = {
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

struct plan {
    struct ms_model_json json;
    const char *folder;
    uint64_t seed;
    bool float32;
};

static void make_tiny(struct ms_hyper *hyper) {
    hyper->segment_frames = 22050;
    hyper->channels = 4;
    hyper->depth = 3;
    hyper->nfft = 512;
    hyper->dconv_comp = 4;
    hyper->bottom_channels = 8;
    hyper->t_layers = 2;
    hyper->t_heads = 2;
    hyper->t_hidden_scale = 2;
}

/* splitmix64, as a number from -1 to 1 */
static double uniform(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (double)(z >> 11) / (double)(UINT64_C(1) << 52) - 1.0;
}

/* Eleven significant bits, as float16 has. */
static double as_half(double value) {
    int exponent;
    const double fraction = frexp(value, &exponent);
    return exponent < -13 ? 0 : ldexp(nearbyint(fraction * 2048), exponent - 11);
}

/* Keeps the level of what goes through a layer: weights are spread by the number of a layer's
 * inputs. */
static void fill(struct ms_tensors_item *tensor, const struct plan *plan, uint64_t *state) {
    const struct ms_hyper *hyper = &plan->json.hyper;
    const char *part = strrchr(tensor->name, '.');
    double centre = 0, spread = 0.05;
    if (strcmp(part, ".scale") == 0) {
        centre = 0.3;
    } else if (tensor->dims == 1 && strcmp(part, ".weight") == 0) {
        centre = 1;
    } else if (strncmp(tensor->name, "freq_emb", 8) == 0) {
        spread = 0.1;
    } else if (tensor->dims > 1) {
        double inputs = (double)tensor->count / (double)tensor->shape[0];
        if (strstr(tensor->name, "conv_tr") != NULL)
            inputs = (double)(tensor->shape[0] * hyper->kernel_size / hyper->stride);
        spread = 1.4 * sqrt(3 / inputs);
    }
    for (size_t i = 0; i < tensor->count; i++) {
        const double value = centre + spread * uniform(state);
        tensor->values[i] = (float)(plan->float32 ? value : as_half(value));
    }
}

static int write_network(struct plan *plan, int index, struct ms_error *err) {
    struct ms_model_json *json = &plan->json;
    const size_t capacity = sizeof json->networks[index].file;
    uint64_t state = plan->seed * 1000 + (uint64_t)index;
    struct ms_tensors *tensors = NULL;
    int rc = ms_tensors_new(&json->hyper, SIZE_MAX, &tensors, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < tensors->count; i++)
        fill(&tensors->items[i], plan, &state);
    if (json->info.member_count == 1)
        snprintf(json->networks[index].file, capacity, "%s.safetensors", json->info.name);
    else
        snprintf(json->networks[index].file, capacity, "%s-%d.safetensors", json->info.name, index);
    char *path = NULL;
    path = ms_strdupf("%s/%s", plan->folder, json->networks[index].file);
    rc = path == NULL ? ms_error_set(err, MS_ENOMEM, "no memory")
                      : ms_safetensors_write(path, tensors, json->networks[index].sha256, err);
    free(path);
    ms_tensors_free(tensors);
    return rc;
}

static int write_model(struct plan *plan, struct ms_error *err) {
    struct ms_model_info *info = &plan->json.info;
    int rc = ms_make_dirs(plan->folder, err);
    plan->json.hyper.sources = info->stem_count;
    for (int i = 0; i < info->member_count && rc == 0; i++) {
        for (int stem = 0; stem < info->stem_count; stem++)
            info->weights[i][stem] = info->member_count == info->stem_count ? i == stem : 1;
        rc = write_network(plan, i, err);
    }
    if (rc != 0)
        return rc;
    char *path = ms_strdupf("%s/%s.json", plan->folder, info->name);
    rc = path == NULL ? ms_error_set(err, MS_ENOMEM, "no memory")
                      : ms_model_json_write(path, &plan->json, err);
    free(path);
    return rc;
}

static void set_stems(struct ms_model_info *info, const char *list) {
    info->stem_count = 0;
    for (const char *at = list; at != NULL && info->stem_count < MS_MODEL_MAX_STEMS;) {
        const char *comma = strchr(at, ',');
        const int length = comma != NULL ? (int)(comma - at) : (int)strlen(at);
        snprintf(info->stems[info->stem_count++], sizeof info->stems[0], "%.*s", length, at);
        at = comma != NULL ? comma + 1 : NULL;
    }
}

int main(int argc, char **argv) {
    enum { TINY = 1000, NAME, STEMS, SEED, FLOAT32, HIDDEN_SCALE, DCONV_MODE, INTEGER };
    struct plan plan = {.seed = 1};
    struct ms_hyper *hyper = &plan.json.hyper;
    struct ms_model_info *info = &plan.json.info;
    const struct {
        const char *name;
        int *value;
    } integers[] = {
        {"channels", &hyper->channels},
        {"growth", &hyper->growth},
        {"depth", &hyper->depth},
        {"nfft", &hyper->nfft},
        {"bottom", &hyper->bottom_channels},
        {"layers", &hyper->t_layers},
        {"heads", &hyper->t_heads},
        {"context", &hyper->context},
        {"dconv-depth", &hyper->dconv_depth},
        {"dconv-comp", &hyper->dconv_comp},
        {"samplerate", &hyper->samplerate},
        {"segment-frames", &hyper->segment_frames},
        {"networks", &info->member_count},
    };
    enum { INTEGERS = sizeof integers / sizeof *integers };
    struct option options[INTEGERS + 8] = {
        {"tiny", no_argument, NULL, TINY},
        {"name", required_argument, NULL, NAME},
        {"stems", required_argument, NULL, STEMS},
        {"seed", required_argument, NULL, SEED},
        {"float32", no_argument, NULL, FLOAT32},
        {"hidden-scale", required_argument, NULL, HIDDEN_SCALE},
        {"dconv-mode", required_argument, NULL, DCONV_MODE},
    };
    struct ms_error err = {0};
    int option, mode;
    for (int i = 0; i < INTEGERS; i++)
        options[7 + i] = (struct option){integers[i].name, required_argument, NULL, INTEGER + i};
    *hyper = published;
    info->member_count = 1;
    strcpy(info->name, "random");
    strcpy(info->licence, "none: random values");
    strcpy(plan.json.source, "make_model");
    set_stems(info, "drums,bass,other,vocals");
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case TINY: make_tiny(hyper); break;
        case NAME: snprintf(info->name, sizeof info->name, "%s", optarg); break;
        case STEMS: set_stems(info, optarg); break;
        case SEED: plan.seed = strtoull(optarg, NULL, 10); break;
        case FLOAT32: plan.float32 = true; break;
        case HIDDEN_SCALE: hyper->t_hidden_scale = atof(optarg); break;
        case DCONV_MODE:
            mode = atoi(optarg);
            hyper->dconv_encoder = mode & 1;
            hyper->dconv_decoder = mode & 2;
            break;
        default:
            if (option < INTEGER || option >= INTEGER + INTEGERS) {
                fputs(usage, stderr);
                return 2;
            }
            *integers[option - INTEGER].value = atoi(optarg);
        }
    }
    if (optind != argc - 1 || info->member_count < 1 || info->member_count > MS_MODEL_MAX_MEMBERS) {
        fputs(usage, stderr);
        return 2;
    }
    plan.folder = argv[optind];
    if (write_model(&plan, &err) != 0) {
        fprintf(stderr, "make_model: %s\n", err.text);
        return 1;
    }
    return 0;
}
