/* Audio files: what is in them, their frames in, stems out. The only users of FFmpeg.
 *
 * Audio is planar 32-bit float, full scale 1.0: one plane per channel, `float *const
 * planes[MS_AUDIO_CHANNELS]`. A "frame" is one sample of every channel. Everything past the decoder
 * is 44.1 kHz stereo.
 *
 * Hostile input: only local regular files are opened, no playlist or other format that opens
 * further files, no network protocol; counts and rates outside the stated limits are refused with
 * MS_EINPUT. Files are decoded by a process of their own, which can open and reach nothing, and has
 * limits: 3 s of processor time and 1 s more for every 5 s of audio, 384 MiB of memory. No function
 * here logs; FFmpeg's own log is captured, never printed. One object serves
 * one thread at a time. */
#ifndef MSAAS_AUDIO_H
#define MSAAS_AUDIO_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/err.h"

#define MS_AUDIO_CHANNELS 2
#define MS_AUDIO_MIN_RATE_HZ 8000
#define MS_AUDIO_MAX_RATE_HZ 192000
#define MS_AUDIO_MAX_CHANNELS 16

/* ---- tags: what a stem inherits from its source ---- */
/* title, artist, album, track, date, genre, lyrics ... (at most 64 KiB each) and one cover picture
 * (at most 16 MiB) */
struct ms_audio_tags;

/* ---- decode: any file -> planar stereo at the rate asked for ---- */
struct ms_decoder;

/* Every program that decodes calls it first in main, while it has one thread. The decoder's process
 * is this program started anew: in there it does not return. */
void ms_decoder_prepare(int argc, char *const argv[]);

/* Opens the best audio stream of `path`. Mono is doubled, surround mixed down (the front channels
 * keep their level, so that the sum may pass full scale), the rate converted to `sample_rate_hz`;
 * encoder delay and padding (gapless information) are cut as the container says. MS_EINPUT: not
 * audio that can be used; MS_ENOTFOUND / MS_EIO: the file itself; MS_EUNSUPPORTED: the decoder's
 * process does not run on this machine. The text names `path`. */
MS_MUST_CHECK int ms_decoder_open(const char *path, int sample_rate_hz, struct ms_decoder **out,
                                  struct ms_error *err);
void ms_decoder_free(struct ms_decoder *decoder);

const struct ms_audio_tags *ms_decoder_tags(const struct ms_decoder *decoder); /* borrowed */

/* Fills up to `capacity` frames into both planes; *frames == 0 means the end. Memory is bounded
 * whatever the file. NaN or infinity in the audio is MS_EINPUT. A file that breaks off in the
 * middle ends early: where at least one frame was decoded, that part is used, and
 * ms_decoder_was_damaged says so. */
MS_MUST_CHECK int ms_decoder_read(struct ms_decoder *decoder,
                                  float *const planes[MS_AUDIO_CHANNELS], size_t capacity,
                                  size_t *frames, struct ms_error *err);

/* Back to the first frame; the second pass gives exactly the frames of the first. */
MS_MUST_CHECK int ms_decoder_rewind(struct ms_decoder *decoder, struct ms_error *err);

/* Whether the stream read so far had undecodable parts (valid after the end was reached). */
bool ms_decoder_was_damaged(const struct ms_decoder *decoder);

#define MS_DECODER_WALLS_BYTES 100
/* Starts the decoder's process once, to see that it can. missing: what protects this machine from
 * hostile files and the kernel refuses ("Landlock", "seccomp, Landlock"); "": nothing. */
MS_MUST_CHECK int ms_decoder_probe(char missing[MS_DECODER_WALLS_BYTES], struct ms_error *err);

/* ---- encode: planar stereo 44.1 kHz -> file ---- */
enum ms_audio_format {
    MS_FORMAT_WAV,
    MS_FORMAT_MP3,
    MS_FORMAT_FLAC,
    MS_FORMAT_OPUS,
    MS_FORMAT_M4A
};
enum ms_sample_type { MS_SAMPLE_INT16, MS_SAMPLE_INT24, MS_SAMPLE_FLOAT32 };

struct ms_encode_options {
    enum ms_audio_format format;
    enum ms_sample_type sample_type; /* wav: all three; flac: int16 or int24; others: ignored */
    int bitrate_kbps;                /* mp3, opus, m4a; 0: the format's default (320, 160, 256) */
    int mp3_preset; /* 2 (slowest) .. 7 (fastest), LAME's quality; 0: the default, 7 */
};

/* "wav", "mp3", "flac", "opus", "m4a" */
const char *ms_audio_format_extension(enum ms_audio_format format);
/* MS_EUSAGE: the name is none of these. */
MS_MUST_CHECK int ms_audio_format_parse(const char *name, enum ms_audio_format *out,
                                        struct ms_error *err);

struct ms_encoder;

/* Writes to a temporary name beside `path` (same folder, hidden, unique), so that no partial file
 * ever stands under a final name: _finish makes the temporary file complete, _publish gives it its
 * final name. A caller with several outputs finishes them all before it publishes the first.
 * Samples beyond full scale are clamped where the format is integer. `tags` may be NULL; what the
 * format cannot hold is left out. Decoded again, the file has exactly the frames written (MP3, Opus
 * and M4A by their gapless information). Output is a function of input and options alone: no dates.
 * A full disk and the like are MS_EIO. */
MS_MUST_CHECK int ms_encoder_open(const char *path, int sample_rate_hz,
                                  const struct ms_encode_options *options,
                                  const struct ms_audio_tags *tags, struct ms_encoder **out,
                                  struct ms_error *err);
MS_MUST_CHECK int ms_encoder_write(struct ms_encoder *encoder,
                                   const float *const planes[MS_AUDIO_CHANNELS], size_t frames,
                                   struct ms_error *err);
/* Flushes and closes the temporary file. After it only _publish (when it returned 0) and _free are
 * allowed. */
MS_MUST_CHECK int ms_encoder_finish(struct ms_encoder *encoder, struct ms_error *err);
/* Renames the finished file to `path`, over what stood there. Only after a successful _finish,
 * once. */
MS_MUST_CHECK int ms_encoder_publish(struct ms_encoder *encoder, struct ms_error *err);

/* The same as a stream: nothing is written to a disk; after each _write and after _finish the
 * caller takes what has come of the file. `name` stands in messages. frames: how many there will
 * be, for the heads of WAV, MP3 and FLAC, which tell it. M4A is fragmented (ISO/IEC 14496-12, 8.8),
 * and the checksums of the whole that FLAC and LAME's tag hold are left out. All else is as in a
 * file. */
MS_MUST_CHECK int ms_encoder_open_stream(const char *name, int64_t frames, int sample_rate_hz,
                                         const struct ms_encode_options *options,
                                         const struct ms_audio_tags *tags, struct ms_encoder **out,
                                         struct ms_error *err);
/* The bytes, none or more, are the encoder's until its next call. */
MS_MUST_CHECK int ms_encoder_take(struct ms_encoder *encoder, const void **bytes, size_t *size,
                                  struct ms_error *err);
/* Of the whole file, where that is known from the first (WAV); else -1. */
int64_t ms_encoder_length(const struct ms_encoder *encoder);
/* Removes the temporary file when it was not published. Accepts NULL. */
void ms_encoder_free(struct ms_encoder *encoder);

#endif
