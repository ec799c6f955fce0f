/* See fake_network.h. */
#include "fake_network.h"

#include <stdio.h>
#include <stdlib.h>

struct ms_session {
    struct fake_network *fake;
};

void fake_forward(const struct fake_network *fake, int member, const float *mix, float *out) {
    size_t frames = (size_t)fake->network.info.segment_frames;
    for (int s = 0; s < fake->network.info.stem_count; s++)
        for (size_t c = 0; c < 2; c++) {
            const float *own = mix + c * frames, *other = mix + (1 - c) * frames;
            float *to = out + ((size_t)s * 2 + c) * frames;
            if (fake->plain)
                for (size_t i = 0; i < frames; i++)
                    to[i] = (float)(s + 1) * own[i];
            else
                for (size_t i = 0; i < frames; i++)
                    to[i] = 0.25f * (float)(s + 1 + member) * own[i] +
                            0.5f * other[(i * 7 + 3) % frames] + 0.125f * (float)i / (float)frames;
        }
}

static void network_free(struct ms_network *network) {
    ((struct fake_network *)network)->open = false;
}

static int session_new(struct ms_network *network, struct ms_session **out, struct ms_error *err) {
    struct fake_network *fake = (struct fake_network *)network;
    *out = NULL;
    if (atomic_fetch_add(&fake->sessions_begun, 1) + 1 == fake->fail_session)
        return ms_error_set(err, MS_ENOMEM, "the fake has no session for you");
    *out = malloc(sizeof **out);
    if (*out == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory");
    (*out)->fake = fake;
    atomic_fetch_add(&fake->sessions, 1);
    return 0;
}

static void session_free(struct ms_session *session) {
    if (session != NULL)
        atomic_fetch_sub(&session->fake->sessions, 1);
    free(session);
}

static int forward(struct ms_session *session, int member, int count, const float *mix, float *out,
                   double seconds[MS_STAGE_COUNT], struct ms_error *err) {
    struct fake_network *fake = session->fake;
    const struct ms_model_info *info = &fake->network.info;
    size_t pair = (size_t)2 * (size_t)info->segment_frames;
    int number = atomic_fetch_add(&fake->forwards_begun, 1) + 1;
    (void)seconds;
    atomic_fetch_add(&fake->forwards[member], 1);
    if (fake->on_forward != NULL)
        fake->on_forward(fake->on_forward_context, number);
    if (number == fake->fail_forward)
        return ms_error_set(err, MS_EINTERNAL, "the fake's forward failed");
    for (size_t i = 0; i < (size_t)count; i++)
        fake_forward(fake, member, mix + i * pair, out + i * (size_t)info->stem_count * pair);
    return 0;
}

void fake_init(struct fake_network *fake, int sample_rate_hz, int segment_frames, int stems) {
    static const char *const names[] = {"drums", "bass", "other", "vocals", "guitar", "piano"};
    static const struct ms_network_ops ops = {
        .free = network_free,
        .session_new = session_new,
        .session_free = session_free,
        .forward = forward,
    };
    *fake = (struct fake_network){.network = {.ops = &ops,
                                              .precision = MS_PRECISION_FLOAT32,
                                              .libtorch = "none",
                                              .info = {.sample_rate_hz = sample_rate_hz,
                                                       .segment_frames = segment_frames,
                                                       .stem_count = stems,
                                                       .member_count = 1}}};
    struct ms_model_info *info = &fake->network.info;
    (void)snprintf(info->name, sizeof info->name, "fake");
    for (int s = 0; s < stems; s++) {
        (void)snprintf(info->stems[s], sizeof info->stems[s], "%s", names[s]);
        info->weights[0][s] = 1.0;
    }
}

struct fake_network *fake_on_disk;

int fake_open(const char *path, const char *device, enum ms_precision precision,
              struct ms_network **out, struct ms_error *err) {
    struct fake_network *fake = fake_on_disk;
    (void)device;
    *out = NULL;
    if (fake->open || atomic_load(&fake->sessions) > 0)
        return ms_error_set(err, MS_EINTERNAL, "%s: the fake is open already", path);
    if (++fake->opens == fake->fail_open)
        return ms_error_set(err, MS_EMODEL, "%s: the fake does not open", path);
    fake->open = true;
    fake->network.precision =
        precision == MS_PRECISION_AUTO || fake->float32_only ? MS_PRECISION_FLOAT32 : precision;
    *out = &fake->network;
    return 0;
}
