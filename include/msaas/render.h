/* Finished stems -> another format, or a mix of them, while somebody reads it. Nothing is separated
 * again and nothing is written to a disk.
 *
 *     store -> stems (object.c) -> gain and pan, sum (mix.c) -> encoder -> bytes (render.c)
 *
 * What is read is the lossless stem that the job keeps (ms_job_kept_key); of a job of an earlier
 * release, which keeps none, the stem in its own format. A render pulls: it reads from the store
 * and computes as fast as its reader takes the bytes, a few seconds of music ahead. Memory: 8 MB,
 * whatever the length; a cover picture comes on top, a few times.
 *
 * A mix is the sum of the stems as they were separated, each with its gain: the scale under which a
 * stem is kept is taken back. Sums are made in double precision and rounded once, so that as
 * 32-bit float WAV a mix is the sum, sample by sample.
 *
 * Gain: out = in x 10^(dB / 20); -inf mutes.
 * Pan, -1 (left) to 1 (right), is that of StereoPannerNode for stereo (W3C Web Audio API 1.1,
 * "StereoPannerNode Panning", equal power), so that a web page hears what it will download. With
 * x = pan + 1 for pan <= 0, else pan:
 *     pan <= 0:  left' = left + right cos(x pi/2)   right' = right sin(x pi/2)
 *     pan > 0:   left' = left cos(x pi/2)           right' = right + left sin(x pi/2)
 * At 0 nothing changes; at either end both channels are on one side, and nothing is lost. */
#ifndef MSAAS_RENDER_H
#define MSAAS_RENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/digest.h"
#include "msaas/err.h"
#include "msaas/job.h"
#include "msaas/store.h"

#define MS_RENDER_LEAST_DB (-120.0) /* and -inf */
#define MS_RENDER_MOST_DB 24.0

/* What a file is to be. Text as in a query, NULL or "" where nothing is said. */
struct ms_render_options {
    const char *format;      /* "mp3" by default */
    const char *bitrate;     /* kbit/s; as for a job */
    const char *sample_type; /* of wav and flac: "int16" (the default), "int24"; wav: "float32" */
    /* What to do with samples beyond full scale: "clamp" or "none", which matters to formats that
     * can hold them; of a stem alone also "rescale", the scale under which it is kept. */
    const char *clip;
    /* In seconds with decimals: where in the song the wanted part begins, and how long it is. By
     * default from the beginning, and to the end. */
    const char *from, *seconds;
};

struct ms_render_part { /* a stem as it lies in the store */
    char key[MS_JOB_KEY_MAX];
    char format[8];
    int64_t bytes;
    char sha256[65];     /* "": not known */
    double matrix[2][2]; /* out[c] = sum over d of matrix[c][d] x in[d]; all 0: not read */
};

struct ms_render_plan {
    struct ms_render_part parts[MS_JOB_MAX_STEMS];
    int part_count;
    bool as_stored; /* the bytes of the only part as they are */
    bool raw;       /* no file: samples, for ms_render_next */
    char format[8];
    int bitrate_kbps; /* 0: the format's own */
    int sample_type;  /* enum ms_sample_type */
    bool clamp;
    /* What is wanted of the song, in frames: [first_frame, end_frame), or as much of it as there
     * is. The whole: 0 and MS_RENDER_TO_END. */
    int64_t first_frame, end_frame;
};
#define MS_RENDER_TO_END INT64_MAX
#define MS_RENDER_RATE_HZ 44100
/* Frames of a part: round(from x rate) to round((from + seconds) x rate). So parts that meet in
 * seconds meet in frames, and joined they are the whole. */
#define MS_RENDER_MOST_S 360000
#define MS_RENDER_LEAST_S 0.001
bool ms_render_is_part(const struct ms_render_plan *plan);
/* Adds to the digest all that decides the bytes of the answer: the plan, the digests of the stems,
 * this build's version. False: a stem has no digest (jobs of other programs), so the answer has no
 * entity tag. */
bool ms_render_plan_digest(const struct ms_render_plan *plan, struct ms_sha256 *digest);

/* The sum of all stems of a job. gains: "drums:0,vocals:-6", in dB; pan: "vocals:0.2"; stems that
 * are not named have gain 0 dB and pan 0. NULL: none is named. Errors are MS_EUSAGE about the name
 * of the value ("gains", "format"), and say what would be right. */
MS_MUST_CHECK int ms_render_plan_mix(const struct ms_job *job, const char *gains, const char *pan,
                                     const struct ms_render_options *options,
                                     struct ms_render_plan *out, struct ms_error *err);
/* One stem in a format: as it is stored, where it is stored so and no more is asked for; FLAC as it
 * is kept. Without `clip`: as the job says. Errors as above. */
MS_MUST_CHECK int ms_render_plan_stem(const struct ms_job *job, const struct ms_job_stem *stem,
                                      const struct ms_render_options *options,
                                      struct ms_render_plan *out, struct ms_error *err);

/* ---- renders ---- */

struct ms_renders; /* how many there are; any thread */
struct ms_render;  /* one; serves one thread at a time */

/* most: how many may be at work at the same time. Those whose readers have not read for a second
 * are not at work; there may be MS_RENDERS_ASLEEP times as many of them. The store's strings are
 * borrowed.
 *
 * A short one, of a part of MS_RENDER_SHORT_S or less whose place in the stems is found at once
 * (FLAC), ends within moments. A player asks for many of them: they have places of their own,
 * MS_RENDERS_ASLEEP x most, so that neither kind takes those of the other. */
#define MS_RENDERS_ASLEEP 8
#define MS_RENDER_SHORT_S 10
#define MS_RENDER_SHORT_FRAMES (INT64_C(1) * MS_RENDER_SHORT_S * MS_RENDER_RATE_HZ)
MS_MUST_CHECK int ms_renders_new(const struct ms_store_options *store, int most,
                                 struct ms_renders **out, struct ms_error *err);
void ms_renders_free(struct ms_renders *renders); /* after the last of its renders */
const struct ms_store_options *ms_renders_store(const struct ms_renders *renders); /* borrowed */

/* Opens all parts and begins to read ahead. must: it continues what has begun, and is not refused.
 * MS_ETOOLARGE: too many are at work; MS_EUSAGE: the song ends before the part that is wanted;
 * MS_ENOTFOUND: a stem is gone from the store; MS_ECORRUPT, MS_EINPUT: it is not what was stored.
 * One that is as_stored counts for nothing. */
MS_MUST_CHECK int ms_render_open(struct ms_renders *renders, const struct ms_render_plan *plan,
                                 bool must, struct ms_render **out, struct ms_error *err);
/* In bytes, where it is known from the first: as stored, and WAV; else -1. */
int64_t ms_render_length(const struct ms_render *render);
/* No render of this plan has more bytes; for places whose size must be said before. */
int64_t ms_render_most_bytes(const struct ms_render *render);
/* The next bytes, at least one; *size 0: the end. Waits for them. MS_ECORRUPT: a stem is not what
 * was stored, and what was read so far is not to be used. */
MS_MUST_CHECK int ms_render_read(struct ms_render *render, void *buffer, size_t capacity,
                                 size_t *size, struct ms_error *err);
/* Of a plan that is raw: the next frames of planar float, the render's until the next call;
 * *frames 0: the end. Errors as above. */
MS_MUST_CHECK int ms_render_next(struct ms_render *render, const float *planes[2], size_t *frames,
                                 struct ms_error *err);
/* Ends the work within a second, wherever it is. Accepts NULL. */
void ms_render_close(struct ms_render *render);

/* ---- a stem file (msaas/stem_mp4.h): one MP4 of the mix and its four stems, for DJs ---- */

#define MS_RENDER_STEMS 4

struct ms_render_stem_file {
    struct ms_render_plan stems[MS_RENDER_STEMS];
    bool alac;
    int bitrate_kbps; /* of a track; 0: the codec's own */
};

/* codec: "aac" (the default) or "alac"; bitrate: of AAC, 32 to 512 kbit/s. All tracks have one
 * scale, under which no stem is too loud, so that their sum stays the mix. MS_EUSAGE: of the value
 * that it names; MS_EUNSUPPORTED: the job has not the four stems. */
MS_MUST_CHECK int ms_render_plan_stem_file(const struct ms_job *job, const char *codec,
                                           const char *bitrate, struct ms_render_stem_file *out,
                                           struct ms_error *err);
/* Makes the file in `fd`, an empty one, which stays the caller's; *bytes: its size. Takes 3 s for
 * each minute of music, 1 s with ALAC. It counts as four renders. Errors as those of ms_render_open
 * and ms_render_read; MS_EIO: the disk. */
MS_MUST_CHECK int ms_render_stem_file(struct ms_renders *renders,
                                      const struct ms_render_stem_file *plan, int fd,
                                      int64_t *bytes, struct ms_error *err);

#endif
