/* See render_scene.h. */
#include "render_scene.h"

const char *const names[STEMS] = {"drums", "bass", "other", "vocals"};
const double kept_gains[STEMS] = {1, 0.5, 0.83, 0.999};
struct clip stems[STEMS]; /* as they are kept */
struct ms_job job;
struct ms_store *store;
struct ms_store_options store_options;
struct ms_renders *renders;

static void keep_stem(int index) {
    struct ms_error err = {0};
    struct ms_job_stem *stem = &job.stems[index];
    const struct ms_encode_options flac = {.format = MS_FORMAT_FLAC,
                                           .sample_type = MS_SAMPLE_INT24};
    const struct ms_encode_options mp3 = {.format = MS_FORMAT_MP3};
    const float *planes[2] = {stems[index].planes[0], stems[index].planes[1]};
    for (int i = 0; i < 2; i++) {
        struct ms_encoder *encoder = NULL;
        struct ms_object_info info;
        char key[MS_JOB_KEY_MAX];
        if (ms_encoder_open("stem", RATE_HZ, i == 0 ? &flac : &mp3, NULL, &encoder, &err) != 0 ||
            ms_encoder_write(encoder, planes, FRAMES, &err) != 0 ||
            ms_encoder_finish(encoder, &err) != 0 || ms_encoder_publish(encoder, &err) != 0)
            fail_msg("%s", err.text);
        ms_encoder_free(encoder);
        if (i == 0)
            ms_job_kept_key(&job, names[index], key);
        else
            ms_job_stem_key(&job, names[index], key);
        const struct ms_object_source source = {.path = "stem"};
        if (ms_store_put(store, MS_BUCKET_STEMS, key, &source, &info, &err) != 0)
            fail_msg("%s", err.text);
        char hex[MS_SHA256_HEX];
        assert_int_equal(ms_sha256_of_file("stem", hex, NULL), 0);
        memcpy(i == 0 ? stem->kept_sha256 : stem->sha256, hex, sizeof hex);
        *(i == 0 ? &stem->kept_bytes : &stem->bytes) = info.bytes;
    }
    /* What is kept has 24 bits. */
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < FRAMES; i++)
            stems[index].planes[c][i] = rintf(stems[index].planes[c][i] * 8388608) / 8388608;
}

int scene_begin(void **state) {
    struct ms_error err = {0};
    static char url[300];
    if (enter_folder(state) != 0)
        return 1;
    (void)snprintf(url, sizeof url, "file:%s/objects", folder);
    store_options = (struct ms_store_options){.url = url, .create_buckets = true};
    if (ms_store_open(&store_options, &store, &err) != 0 ||
        ms_renders_new(&store_options, 4, &renders, &err) != 0)
        fail_msg("%s", err.text);
    (void)snprintf(job.id, sizeof job.id, "%056d", 7);
    ms_job_options_default("tiny", &job.options);
    job.state = MS_JOB_SUCCEEDED;
    job.stem_count = STEMS;
    for (int s = 0; s < STEMS; s++) {
        clip_alloc(&stems[s], FRAMES);
        for (int c = 0; c < 2; c++)
            for (int64_t i = 0; i < FRAMES; i++)
                stems[s].planes[c][i] =
                    (float)(0.4 * sin((double)i * (0.01 + 0.013 * s + 0.007 * c)) +
                            0.1 * sin((double)i * 0.3));
        (void)snprintf(job.stems[s].name, sizeof job.stems[s].name, "%s", names[s]);
        job.stems[s].kept_gain = kept_gains[s];
        keep_stem(s);
    }
    return 0;
}

int scene_end(void **state) {
    for (int s = 0; s < STEMS; s++)
        clip_free(&stems[s]);
    ms_store_close(store);
    ms_renders_free(renders);
    return leave_folder(state);
}

struct ms_render *open_render(const struct ms_render_plan *plan) {
    struct ms_error err = {0};
    struct ms_render *render = NULL;
    if (ms_render_open(renders, plan, false, &render, &err) != 0)
        fail_msg("%s", err.text);
    return render;
}

/* Into the file "out", in pieces of odd sizes. Returns the code of the end. */
int read_render(const struct ms_render_plan *plan, struct ms_error *err) {
    char buffer[10007];
    size_t size = 1;
    int64_t total = 0;
    struct ms_render *render = open_render(plan);
    FILE *file = fopen("out", "wb");
    assert_non_null(file);
    int rc = 0;
    while (size > 0 && (rc = ms_render_read(render, buffer, sizeof buffer, &size, err)) == 0) {
        assert_int_equal(fwrite(buffer, 1, size, file), size);
        total += (int64_t)size;
    }
    if (rc == 0 && ms_render_length(render) >= 0)
        assert_int_equal(ms_render_length(render), total);
    assert_true(total <= ms_render_most_bytes(render));
    ms_render_close(render);
    assert_int_equal(fclose(file), 0);
    return rc;
}

void must_read(const struct ms_render_plan *plan, struct clip *clip) {
    struct ms_error err = {0};
    if (read_render(plan, &err) != 0)
        fail_msg("%s", err.text);
    must_decode("out", clip);
}

void plan_of(int stem, const char *format, const char *clip, struct ms_render_plan *plan) {
    struct ms_error err = {0};
    const struct ms_render_options options = {.format = format, .clip = clip};
    if (ms_render_plan_stem(&job, &job.stems[stem], &options, plan, &err) != 0)
        fail_msg("%s", err.text);
}

void put_damaged(const char *key, const void *bytes, size_t size) {
    const struct ms_object_source source = {.bytes = bytes, .size = (int64_t)size};
    assert_int_equal(ms_store_put(store, MS_BUCKET_STEMS, key, &source, NULL, NULL), 0);
}
