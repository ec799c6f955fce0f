/* See fake_network.h. */
#include "fake_network.h"

#include <stdio.h>
#include <stdlib.h>

struct ms_session {
    struct ms_model *model;
};

void fake_model_init(struct ms_model *model, int sample_rate_hz, int segment_frames, int stems) {
    static const char *const names[] = {"drums", "bass", "other", "vocals", "guitar", "piano"};
    *model = (struct ms_model){.info = {.sample_rate_hz = sample_rate_hz,
                                        .segment_frames = segment_frames,
                                        .stem_count = stems,
                                        .network_count = 1}};
    (void)snprintf(model->info.name, sizeof model->info.name, "fake");
    for (int s = 0; s < stems; s++) {
        (void)snprintf(model->info.stems[s], sizeof model->info.stems[s], "%s", names[s]);
        model->info.weights[0][s] = 1.0;
    }
}

void fake_forward(const struct ms_model *model, int network, const float *mix, float *out) {
    size_t frames = (size_t)model->info.segment_frames;
    for (int s = 0; s < model->info.stem_count; s++)
        for (size_t c = 0; c < 2; c++) {
            const float *own = mix + c * frames, *other = mix + (1 - c) * frames;
            float *to = out + ((size_t)s * 2 + c) * frames;
            if (model->plain)
                for (size_t i = 0; i < frames; i++)
                    to[i] = (float)(s + 1) * own[i];
            else
                for (size_t i = 0; i < frames; i++)
                    to[i] = 0.25f * (float)(s + 1 + network) * own[i] +
                            0.5f * other[(i * 7 + 3) % frames] + 0.125f * (float)i / (float)frames;
        }
}

struct ms_model *fake_model_on_disk;

int ms_model_open(const char *path, const char *device, enum ms_precision precision,
                  struct ms_model **out, struct ms_error *err) {
    struct ms_model *model = fake_model_on_disk;
    (void)device;
    *out = NULL;
    if (model->open || atomic_load(&model->sessions) > 0)
        return ms_error_set(err, MS_EINTERNAL, "%s: the fake is open already", path);
    if (++model->opens == model->fail_open)
        return ms_error_set(err, MS_EMODEL, "%s: the fake does not open", path);
    model->open = true;
    model->precision =
        precision == MS_PRECISION_AUTO || model->float32_only ? MS_PRECISION_FLOAT32 : precision;
    *out = model;
    return 0;
}

void ms_model_free(struct ms_model *model) {
    if (model != NULL)
        model->open = false;
}

enum ms_precision ms_model_precision(const struct ms_model *model) {
    return model->precision;
}

const struct ms_model_info *ms_model_info(const struct ms_model *model) {
    return &model->info;
}

int ms_session_new(const struct ms_model *model, struct ms_session **out, struct ms_error *err) {
    struct ms_model *counted =
        (struct ms_model *)(uintptr_t)model; /* the fake keeps its counters there */
    *out = NULL;
    if (atomic_fetch_add(&counted->sessions_begun, 1) + 1 == model->fail_session)
        return ms_error_set(err, MS_ENOMEM, "the fake has no session for you");
    *out = malloc(sizeof **out);
    if (*out == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory");
    (*out)->model = counted;
    atomic_fetch_add(&counted->sessions, 1);
    return 0;
}

void ms_session_free(struct ms_session *session) {
    if (session != NULL)
        atomic_fetch_sub(&session->model->sessions, 1);
    free(session);
}

int ms_session_forward(struct ms_session *session, int network, int count, const float *mix,
                       float *out, struct ms_error *err) {
    struct ms_model *model = session->model;
    size_t pair = (size_t)2 * (size_t)model->info.segment_frames;
    int number = atomic_fetch_add(&model->forwards_begun, 1) + 1;
    atomic_fetch_add(&model->forwards[network], 1);
    if (model->on_forward != NULL)
        model->on_forward(model->on_forward_context, number);
    if (number == model->fail_forward)
        return ms_error_set(err, MS_EINTERNAL, "the fake's forward failed");
    for (size_t i = 0; i < (size_t)count; i++)
        fake_forward(model, network, mix + i * pair,
                     out + i * (size_t)model->info.stem_count * pair);
    return 0;
}
