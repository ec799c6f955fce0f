/* Samples -> an MP4 file: ftyp, one mdat, and moov behind it. Owns the lists of samples and chunks,
 * and a stream on the caller's file, whose buffer is the only one. */
#include "mp4.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mp4_box.h"
#include "mp4_tags.h"

#define CHANNELS 2U
#define ENABLED 1U /* flags of tkhd */
#define IN_MOVIE 2U
#define UNITY UINT64_C(0x00010000) /* 1 in 16.16 */
#define NO_LANGUAGE 0x55c4U        /* "und", 5 bits a letter */
#define AAC_OBJECT 0x40U
#define AUDIO_STREAM 0x15U /* 5, and a bit that is always set */

struct chunk {
    off_t at;
    uint32_t samples;
};

struct track {
    struct ms_mp4_track is;
    uint32_t *sizes; /* of the samples */
    size_t samples, sample_room;
    struct chunk *chunks;
    size_t chunk_count, chunk_room;
    int64_t media_frames; /* of all samples */
};

struct ms_mp4 {
    FILE *to;
    int rate_hz;
    int count;
    int last; /* the track of the last sample; -1: none */
    off_t mdat, at;
    struct track tracks[MS_MP4_MAX_TRACKS];
};

/* ---- samples ---- */

static int check(const struct ms_mp4 *mp4, struct ms_error *err) {
    if (!ferror(mp4->to))
        return 0;
    return ms_error_set(err, MS_EIO, "the scratch file cannot be written: %s", strerror(errno));
}

int ms_mp4_open(int fd, int rate_hz, const struct ms_mp4_track *tracks, int count,
                struct ms_mp4 **out, struct ms_error *err) {
    *out = NULL;
    if (count < 1 || count > MS_MP4_MAX_TRACKS)
        return ms_error_set(err, MS_EINTERNAL, "%d tracks", count);
    struct ms_mp4 *mp4 = calloc(1, sizeof *mp4);
    const int own = mp4 != NULL ? dup(fd) : -1;
    if (own >= 0)
        mp4->to = fdopen(own, "w");
    if (mp4 == NULL || mp4->to == NULL) {
        if (own >= 0)
            (void)close(own);
        free(mp4);
        return ms_error_set(err, MS_ENOMEM, "no memory for an MP4 file");
    }
    mp4->rate_hz = rate_hz;
    mp4->count = count;
    mp4->last = -1;
    for (int i = 0; i < count; i++)
        mp4->tracks[i].is = tracks[i];
    const off_t type = ms_box_begin(mp4->to, "ftyp");
    (void)fputs("M4A ", mp4->to);
    ms_box_put_zeros(mp4->to, 4);
    (void)fputs("M4A mp42isom", mp4->to);
    ms_box_end(mp4->to, type);
    /* 1: its size, which may need more than 4 bytes, follows the type. */
    mp4->mdat = ftello(mp4->to);
    ms_box_put(mp4->to, 4, 1);
    (void)fputs("mdat", mp4->to);
    ms_box_put_zeros(mp4->to, 8);
    mp4->at = ftello(mp4->to);
    *out = mp4;
    return check(mp4, err);
}

/* Makes room for one more of `count` items. */
static bool grow(void *items, size_t count, size_t *room, size_t item_bytes) {
    void **list = items;
    if (count < *room)
        return true;
    const size_t more = *room > 0 ? 2 * *room : 1024;
    void *grown = realloc(*list, more * item_bytes);
    if (grown == NULL)
        return false;
    *list = grown;
    *room = more;
    return true;
}

int ms_mp4_write(struct ms_mp4 *mp4, int number, const void *bytes, size_t size,
                 struct ms_error *err) {
    struct track *track = &mp4->tracks[number];
    if (!grow(&track->sizes, track->samples, &track->sample_room, sizeof *track->sizes) ||
        !grow(&track->chunks, track->chunk_count, &track->chunk_room, sizeof *track->chunks))
        return ms_error_set(err, MS_ENOMEM, "no memory for the lists of an MP4 file");
    if (mp4->last != number)
        track->chunks[track->chunk_count++] = (struct chunk){.at = mp4->at};
    mp4->last = number;
    track->chunks[track->chunk_count - 1].samples++;
    track->sizes[track->samples++] = (uint32_t)size;
    mp4->at += (off_t)size;
    (void)fwrite(bytes, 1, size, mp4->to);
    return check(mp4, err);
}

/* ---- what describes them ---- */

/* Of all samples but the last. */
static int64_t whole_frames(const struct track *track) {
    return ((int64_t)track->samples - 1) * track->is.sample_frames;
}

static void put_matrix(FILE *to) {
    for (int i = 0; i < 9; i++)
        ms_box_put(to, 4, i == 8 ? 0x40000000 : i % 4 == 0 ? UNITY : 0);
}

static void put_mvhd(const struct ms_mp4 *mp4, int64_t frames) {
    FILE *to = mp4->to;
    const off_t box = ms_box_begin_full(to, "mvhd", 0, 0);
    ms_box_put_zeros(to, 8); /* no dates */
    ms_box_put(to, 4, (uint64_t)mp4->rate_hz);
    ms_box_put(to, 4, (uint64_t)frames);
    ms_box_put(to, 4, UNITY);  /* rate */
    ms_box_put(to, 2, 0x0100); /* volume */
    ms_box_put_zeros(to, 10);
    put_matrix(to);
    ms_box_put_zeros(to, 24);
    ms_box_put(to, 4, (uint64_t)mp4->count + 1); /* the next track's ID */
    ms_box_end(to, box);
}

static void put_tkhd(FILE *to, const struct track *track, int id, int64_t frames) {
    const off_t box =
        ms_box_begin_full(to, "tkhd", 0, IN_MOVIE | (track->is.enabled ? ENABLED : 0));
    ms_box_put_zeros(to, 8); /* no dates */
    ms_box_put(to, 4, (uint64_t)id);
    ms_box_put_zeros(to, 4);
    ms_box_put(to, 4, (uint64_t)frames);
    ms_box_put_zeros(to, 12); /* layer and group: none */
    ms_box_put(to, 2, 0x0100);
    ms_box_put_zeros(to, 2);
    put_matrix(to);
    ms_box_put_zeros(to, 8); /* width and height */
    ms_box_end(to, box);
}

/* The part that is heard: neither the encoder's delay nor what fills its last sample. */
static void put_edits(FILE *to, const struct track *track, int64_t frames) {
    const off_t edts = ms_box_begin(to, "edts");
    const off_t elst = ms_box_begin_full(to, "elst", 0, 0);
    ms_box_put(to, 4, 1);
    ms_box_put(to, 4, (uint64_t)frames);
    ms_box_put(to, 4, (uint64_t)track->is.priming_frames);
    ms_box_put(to, 4, UNITY);
    ms_box_end(to, elst);
    ms_box_end(to, edts);
}

static void put_handler(FILE *to, const char *type, const char *name) {
    const off_t box = ms_box_begin_full(to, "hdlr", 0, 0);
    ms_box_put_zeros(to, 4);
    (void)fwrite(type, 1, 4, to);
    ms_box_put_zeros(to, 12);
    (void)fwrite(name, 1, strlen(name) + 1, to);
    ms_box_end(to, box);
}

/* ISO/IEC 14496-1: descriptors, whose sizes fit into one byte here. */
static void put_esds(FILE *to, const struct ms_mp4_track *is) {
    const unsigned config = (unsigned)is->config_bytes;
    const off_t box = ms_box_begin_full(to, "esds", 0, 0);
    ms_box_put(to, 2, 3U << 8 | (3 + 2 + 13 + 2 + config + 3)); /* of a stream */
    ms_box_put_zeros(to, 3);
    ms_box_put(to, 2, 4U << 8 | (13 + 2 + config)); /* of its decoder */
    ms_box_put(to, 2, AAC_OBJECT << 8 | AUDIO_STREAM);
    ms_box_put_zeros(to, 3 + 4 + 4); /* buffer and bit rates: not known */
    ms_box_put(to, 2, 5U << 8 | config);
    (void)fwrite(is->config, 1, config, to);
    ms_box_put(to, 3, 0x060102); /* of the layer below: that of MP4 */
    ms_box_end(to, box);
}

static void put_description(const struct ms_mp4 *mp4, const struct ms_mp4_track *is) {
    FILE *to = mp4->to;
    const off_t stsd = ms_box_begin_full(to, "stsd", 0, 0);
    ms_box_put(to, 4, 1);
    const off_t entry = ms_box_begin(to, is->codec);
    ms_box_put_zeros(to, 6);
    ms_box_put(to, 2, 1); /* the data are in this file */
    ms_box_put_zeros(to, 8);
    ms_box_put(to, 2, CHANNELS);
    ms_box_put(to, 2, (uint64_t)is->bits);
    ms_box_put_zeros(to, 4);
    ms_box_put(to, 4, (uint64_t)mp4->rate_hz << 16);
    if (strcmp(is->codec, "mp4a") == 0)
        put_esds(to, is);
    else
        (void)fwrite(is->config, 1, (size_t)is->config_bytes, to);
    ms_box_end(to, entry);
    ms_box_end(to, stsd);
}

/* Runs of chunks with the same number of samples. */
static void put_chunk_sizes(FILE *to, const struct track *track) {
    const off_t box = ms_box_begin_full(to, "stsc", 0, 0);
    const off_t count_at = ftello(to);
    uint32_t runs = 0;
    ms_box_put_zeros(to, 4);
    for (size_t i = 0; i < track->chunk_count; i++) {
        if (i > 0 && track->chunks[i].samples == track->chunks[i - 1].samples)
            continue;
        ms_box_put(to, 4, i + 1);
        ms_box_put(to, 4, track->chunks[i].samples);
        ms_box_put(to, 4, 1);
        runs++;
    }
    const off_t end = ftello(to);
    (void)fseeko(to, count_at, SEEK_SET);
    ms_box_put(to, 4, runs);
    (void)fseeko(to, end, SEEK_SET);
    ms_box_end(to, box);
}

static void put_samples(const struct ms_mp4 *mp4, const struct track *track) {
    FILE *to = mp4->to;
    const off_t stbl = ms_box_begin(to, "stbl");
    put_description(mp4, &track->is);
    const off_t stts = ms_box_begin_full(to, "stts", 0, 0);
    ms_box_put(to, 4, 2);
    ms_box_put(to, 4, track->samples - 1);
    ms_box_put(to, 4, (uint64_t)track->is.sample_frames);
    ms_box_put(to, 4, 1);
    ms_box_put(to, 4, (uint64_t)(track->media_frames - whole_frames(track)));
    ms_box_end(to, stts);
    put_chunk_sizes(to, track);
    const off_t stsz = ms_box_begin_full(to, "stsz", 0, 0);
    ms_box_put_zeros(to, 4); /* they differ */
    ms_box_put(to, 4, track->samples);
    for (size_t i = 0; i < track->samples; i++)
        ms_box_put(to, 4, track->sizes[i]);
    ms_box_end(to, stsz);
    const off_t co64 = ms_box_begin_full(to, "co64", 0, 0);
    ms_box_put(to, 4, track->chunk_count);
    for (size_t i = 0; i < track->chunk_count; i++)
        ms_box_put(to, 8, (uint64_t)track->chunks[i].at);
    ms_box_end(to, co64);
    ms_box_end(to, stbl);
}

static void put_media(const struct ms_mp4 *mp4, const struct track *track) {
    FILE *to = mp4->to;
    const off_t mdia = ms_box_begin(to, "mdia");
    const off_t mdhd = ms_box_begin_full(to, "mdhd", 0, 0);
    ms_box_put_zeros(to, 8);
    ms_box_put(to, 4, (uint64_t)mp4->rate_hz);
    ms_box_put(to, 4, (uint64_t)track->media_frames);
    ms_box_put(to, 2, NO_LANGUAGE);
    ms_box_put_zeros(to, 2);
    ms_box_end(to, mdhd);
    put_handler(to, "soun", track->is.name);
    const off_t minf = ms_box_begin(to, "minf");
    const off_t smhd = ms_box_begin_full(to, "smhd", 0, 0);
    ms_box_put_zeros(to, 4);
    ms_box_end(to, smhd);
    const off_t dinf = ms_box_begin(to, "dinf");
    const off_t dref = ms_box_begin_full(to, "dref", 0, 0);
    ms_box_put(to, 4, 1);
    ms_box_end(to, ms_box_begin_full(to, "url ", 0, 1)); /* this file */
    ms_box_end(to, dref);
    ms_box_end(to, dinf);
    put_samples(mp4, track);
    ms_box_end(to, minf);
    ms_box_end(to, mdia);
}

/* The last sample ends where the music does: some players know nothing of edits. */
static int measure(struct track *track, int64_t frames, struct ms_error *err) {
    track->media_frames = frames + track->is.priming_frames;
    const int64_t last = track->media_frames - whole_frames(track);
    if (track->samples == 0 || last < 1 || last > track->is.sample_frames)
        return ms_error_set(err, MS_EINTERNAL, "%zu samples for %lld frames", track->samples,
                            (long long)frames);
    if (track->media_frames > UINT32_MAX)
        return ms_error_set(err, MS_ETOOLARGE, "longer than an MP4 file of this kind may be");
    return 0;
}

int ms_mp4_finish(struct ms_mp4 *mp4, int64_t frames, const struct ms_audio_tags *tags,
                  const char *stem, int64_t *bytes, struct ms_error *err) {
    FILE *to = mp4->to;
    for (int i = 0; i < mp4->count; i++) {
        const int rc = measure(&mp4->tracks[i], frames, err);
        if (rc != 0)
            return rc;
    }
    (void)fseeko(to, mp4->mdat + 8, SEEK_SET);
    ms_box_put(to, 8, (uint64_t)(mp4->at - mp4->mdat));
    (void)fseeko(to, mp4->at, SEEK_SET);
    const off_t moov = ms_box_begin(to, "moov");
    put_mvhd(mp4, frames);
    for (int i = 0; i < mp4->count; i++) {
        const off_t trak = ms_box_begin(to, "trak");
        put_tkhd(to, &mp4->tracks[i], i + 1, frames);
        put_edits(to, &mp4->tracks[i], frames);
        put_media(mp4, &mp4->tracks[i]);
        ms_box_end(to, trak);
    }
    const off_t udta = ms_box_begin(to, "udta");
    if (tags != NULL)
        ms_mp4_put_tags(to, tags);
    const off_t box = ms_box_begin(to, "stem");
    (void)fputs(stem, to);
    ms_box_end(to, box);
    ms_box_end(to, udta);
    ms_box_end(to, moov);
    *bytes = ftello(to);
    (void)fflush(to);
    return check(mp4, err);
}

void ms_mp4_free(struct ms_mp4 *mp4) {
    if (mp4 == NULL)
        return;
    (void)fclose(mp4->to);
    for (int i = 0; i < mp4->count; i++) {
        free(mp4->tracks[i].sizes);
        free(mp4->tracks[i].chunks);
    }
    free(mp4);
}
