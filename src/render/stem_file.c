/* The four stems of a job -> a stem file (msaas/stem_mp4.h). Each stem is a render of its own:
 * its thread reads ahead, the caller's encodes. Owns the four renders and, for the song's tags,
 * one stem more, of which only the head is read. */
#include <stdlib.h>
#include <string.h>

#include "msaas/media.h"
#include "msaas/render.h"
#include "msaas/stem_mp4.h"
#include "msaas/value.h"
#include "object.h"

#define RATE_HZ 44100
#define HEAD_BYTES ((size_t)256 << 10)

_Static_assert(MS_RENDER_STEMS == MS_STEM_MP4_STEMS, "as many stems as tracks beside the mix");

/* ---- what is wanted ---- */

static const struct ms_job_stem *find(const struct ms_job *job, const char *name) {
    for (int i = 0; i < job->stem_count; i++)
        if (strcmp(job->stems[i].name, name) == 0)
            return &job->stems[i];
    return NULL;
}

/* The job's stems by name: "vocals, no_vocals". */
static int refuse(const struct ms_job *job, struct ms_error *err) {
    (void)ms_error_set(err, MS_EUNSUPPORTED,
                       "a stem file holds drums, bass, other and vocals; this job has ");
    for (int i = 0; i < job->stem_count; i++)
        ms_error_append(err, "%s%s", i > 0 ? ", " : "", job->stems[i].name);
    return MS_EUNSUPPORTED;
}

static int plan_stems(const struct ms_job *job, struct ms_render_stem_file *out,
                      struct ms_error *err) {
    static const struct ms_render_options as_separated = {.format = "wav", .clip = "none"};
    double loudest = 1; /* the scale under which none of them is too loud */
    for (int i = 0; i < MS_RENDER_STEMS; i++) {
        const struct ms_job_stem *stem = find(job, ms_stem_mp4_stems[i]);
        if (job->stem_count != MS_RENDER_STEMS || stem == NULL)
            return refuse(job, err);
        const int rc = ms_render_plan_stem(job, stem, &as_separated, &out->stems[i], err);
        if (rc != 0)
            return rc;
        out->stems[i].as_stored = false;
        out->stems[i].raw = true;
        const double gain = out->stems[i].parts[0].matrix[0][0];
        loudest = gain > loudest ? gain : loudest;
    }
    for (int i = 0; i < MS_RENDER_STEMS; i++)
        for (int c = 0; c < 2; c++)
            out->stems[i].parts[0].matrix[c][c] /= loudest;
    return 0;
}

int ms_render_plan_stem_file(const struct ms_job *job, const char *codec, const char *bitrate,
                             struct ms_render_stem_file *out, struct ms_error *err) {
    int which = 0;
    int64_t kbps = 0;
    *out = (struct ms_render_stem_file){0};
    if (codec != NULL && codec[0] != '\0' && ms_value_choice(codec, "aac|alac", &which, err) != 0)
        return ms_error_prefix(err, "codec");
    if (bitrate != NULL && bitrate[0] != '\0') {
        const int rc = which == MS_STEM_MP4_AAC
                           ? ms_value_int(bitrate, 32, 512, &kbps, err)
                           : ms_error_set(err, MS_EUSAGE, "alac has no bit rate to choose");
        if (rc != 0)
            return ms_error_prefix(err, "bitrate");
    }
    out->alac = which == MS_STEM_MP4_ALAC;
    out->bitrate_kbps = (int)kbps;
    return plan_stems(job, out, err);
}

/* ---- making it ---- */

struct making {
    struct ms_render *stems[MS_RENDER_STEMS];
    const float *planes[MS_RENDER_STEMS][MS_AUDIO_CHANNELS]; /* of each, not encoded yet */
    size_t left[MS_RENDER_STEMS];
    struct ms_stem_mp4 *file;
    struct ms_store *store;
    struct ms_object object; /* the first stem, for its tags */
    struct ms_media *media;
};

static int open_head(struct making *making, const struct ms_store_options *store,
                     const struct ms_render_part *part, struct ms_error *err) {
    const struct ms_media_source source = {
        .bytes = part->bytes, .read = ms_object_read, .context = &making->object};
    enum ms_audio_format format;
    int rc = ms_audio_format_parse(part->format, &format, err);
    if (rc == 0)
        rc = ms_store_open(store, &making->store, err);
    if (rc == 0)
        rc =
            ms_object_open(&making->object, making->store, part->key, part->bytes, HEAD_BYTES, err);
    return rc == 0 ? ms_media_open_source(&source, format, RATE_HZ, &making->media, err) : rc;
}

/* Encodes what all four have. *frames 0: they are at their end, all at the same time. */
static int encode_next(struct making *making, size_t *frames, struct ms_error *err) {
    *frames = SIZE_MAX;
    for (int i = 0; i < MS_RENDER_STEMS; i++) {
        int rc = 0;
        if (making->left[i] == 0)
            rc = ms_render_next(making->stems[i], making->planes[i], &making->left[i], err);
        if (rc != 0)
            return rc;
        if (i > 0 && (making->left[i] == 0) != (making->left[0] == 0))
            return ms_error_set(err, MS_ECORRUPT, "the stems are not of the same length");
        *frames = making->left[i] < *frames ? making->left[i] : *frames;
    }
    if (*frames == 0)
        return 0;
    const int rc = ms_stem_mp4_write(
        making->file, (const float *const(*)[MS_AUDIO_CHANNELS])making->planes, *frames, err);
    for (int i = 0; i < MS_RENDER_STEMS; i++) {
        making->left[i] -= *frames;
        for (int c = 0; c < MS_AUDIO_CHANNELS; c++)
            making->planes[i][c] += *frames;
    }
    return rc;
}

static int make(struct making *making, struct ms_renders *renders,
                const struct ms_render_stem_file *plan, int fd, int64_t *bytes,
                struct ms_error *err) {
    const struct ms_stem_mp4_options options = {.codec =
                                                    plan->alac ? MS_STEM_MP4_ALAC : MS_STEM_MP4_AAC,
                                                .bitrate_kbps = plan->bitrate_kbps};
    int rc = 0;
    for (int i = 0; rc == 0 && i < MS_RENDER_STEMS; i++) /* if one may, all may */
        rc = ms_render_open(renders, &plan->stems[i], i > 0, &making->stems[i], err);
    if (rc == 0)
        rc = open_head(making, ms_renders_store(renders), &plan->stems[0].parts[0], err);
    if (rc == 0)
        rc = ms_stem_mp4_open(fd, RATE_HZ, &options, &making->file, err);
    for (size_t frames = 1; rc == 0 && frames > 0;)
        rc = encode_next(making, &frames, err);
    return rc == 0 ? ms_stem_mp4_finish(making->file, ms_media_tags(making->media), bytes, err)
                   : rc;
}

int ms_render_stem_file(struct ms_renders *renders, const struct ms_render_stem_file *plan, int fd,
                        int64_t *bytes, struct ms_error *err) {
    struct making making = {0};
    const int rc = make(&making, renders, plan, fd, bytes, err);
    for (int i = 0; i < MS_RENDER_STEMS; i++)
        ms_render_close(making.stems[i]);
    ms_stem_mp4_free(making.file);
    ms_media_free(making.media);
    ms_object_close(&making.object);
    ms_store_close(making.store);
    return rc;
}
