/* The command line of `msaas separate` -> options of the pipeline, with all that can be refused
 * before work starts. Owns nothing. Main thread. */
#include "separate_options.h"

#include <string.h>

#include "msaas/job_options.h"
#include "msaas/stem.h"

static bool given(const struct ms_options *options, enum ms_option_id id) {
    return ms_options_is_set(options, id);
}

static int needs(bool holds, const char *text, struct ms_error *err) {
    return holds ? 0 : ms_error_set(err, MS_EUSAGE, "%s", text);
}

static int encode_options(const struct ms_options *options, struct ms_encode_options *encode,
                          struct ms_error *err) {
    static const struct {
        enum ms_option_id id;
        enum ms_audio_format format;
    } formats[] = {
        {MS_OPTION_WAV, MS_FORMAT_WAV},   {MS_OPTION_MP3, MS_FORMAT_MP3},
        {MS_OPTION_FLAC, MS_FORMAT_FLAC}, {MS_OPTION_OPUS, MS_FORMAT_OPUS},
        {MS_OPTION_M4A, MS_FORMAT_M4A},
    };
    int asked = 0;
    encode->format = MS_FORMAT_WAV;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (!given(options, formats[i].id))
            continue;
        encode->format = formats[i].format;
        asked++;
    }
    bool wav = encode->format == MS_FORMAT_WAV;
    bool mp3 = encode->format == MS_FORMAT_MP3;
    bool flac = encode->format == MS_FORMAT_FLAC;
    bool int24 = given(options, MS_OPTION_INT24);
    bool float32 = given(options, MS_OPTION_FLOAT32);
    int rc = needs(asked <= 1, "--wav, --mp3, --flac, --opus and --m4a exclude each other", err);
    if (rc == 0)
        rc = needs(!int24 || !float32, "--int24 and --float32 exclude each other", err);
    if (rc == 0)
        rc = needs(!int24 || wav || flac, "--int24 is for WAV and FLAC only", err);
    if (rc == 0)
        rc = needs(!float32 || wav, "--float32 is for WAV only", err);
    if (rc == 0)
        rc = needs(mp3 || !given(options, MS_OPTION_MP3_BITRATE), "--mp3-bitrate needs --mp3", err);
    if (rc == 0)
        rc = needs(mp3 || !given(options, MS_OPTION_MP3_PRESET), "--mp3-preset needs --mp3", err);
    if (rc == 0)
        rc = needs(!given(options, MS_OPTION_MP3_BITRATE) || !given(options, MS_OPTION_BITRATE),
                   "--bitrate and --mp3-bitrate exclude each other", err);
    encode->sample_type = int24 ? MS_SAMPLE_INT24 : float32 ? MS_SAMPLE_FLOAT32 : MS_SAMPLE_INT16;
    const bool by_mp3 = mp3 && !given(options, MS_OPTION_BITRATE);
    encode->bitrate_kbps =
        (int)ms_options_int(options, by_mp3 ? MS_OPTION_MP3_BITRATE : MS_OPTION_BITRATE);
    if (rc == 0)
        rc = ms_job_bitrate_check(ms_audio_format_extension(encode->format), encode->bitrate_kbps,
                                  err);
    encode->mp3_preset = (int)ms_options_int(options, MS_OPTION_MP3_PRESET);
    return rc;
}

/* The index of the chosen word. The option table lists the words in the order of the enum. */
static int choice(const struct ms_options *options, enum ms_option_id id,
                  const char *const words[3]) {
    const char *given_word = ms_options_string(options, id);
    return strcmp(given_word, words[0]) == 0 ? 0 : strcmp(given_word, words[1]) == 0 ? 1 : 2;
}

int ms_separate_options_read(const struct ms_options *options, struct ms_pipeline_options *out,
                             struct ms_error *err) {
    static const char *const clip_modes[] = {"rescale", "clamp", "none"};
    static const char *const other_methods[] = {"add", "minus", "none"};
    const bool no_split = given(options, MS_OPTION_NO_SPLIT);
    int rc = encode_options(options, &out->encode, err);
    if (rc == 0)
        rc = needs(!given(options, MS_OPTION_STEMS) || !given(options, MS_OPTION_TWO_STEMS),
                   "--stems and --two-stems exclude each other", err);
    if (rc == 0)
        rc = needs(given(options, MS_OPTION_TWO_STEMS) || !given(options, MS_OPTION_OTHER_METHOD),
                   "--other-method needs --two-stems", err);
    if (rc == 0)
        rc = needs(!given(options, MS_OPTION_QUIET) || !given(options, MS_OPTION_VERBOSE),
                   "--quiet and --verbose exclude each other", err);
    if (rc == 0)
        rc = needs(!no_split || !given(options, MS_OPTION_SEGMENT),
                   "--no-split and --segment exclude each other", err);
    if (rc == 0)
        rc = needs(ms_options_argument_count(options) > 0, "name at least one file", err);
    out->clip = (enum ms_clip_mode)choice(options, MS_OPTION_CLIP_MODE, clip_modes);
    out->other_method =
        (enum ms_other_method)choice(options, MS_OPTION_OTHER_METHOD, other_methods);
    /* One piece overlaps nothing. */
    out->separate.overlap = no_split ? 0 : ms_options_double(options, MS_OPTION_OVERLAP);
    out->separate.segment_s = ms_options_double(options, MS_OPTION_SEGMENT);
    out->separate.shifts = (int)ms_options_int(options, MS_OPTION_SHIFTS);
    out->separate.seed = (uint64_t)ms_options_int(options, MS_OPTION_SEED);
    out->two_stems = -1;
    return rc;
}

static int find_stem(const struct ms_model_info *info, const char *name, size_t length,
                     const char *option, struct ms_error *err) {
    const int index = ms_stem_find(info->stems, info->stem_count, name, length, err);
    return index >= 0 ? index : ms_error_prefix(err, "%s", option);
}

int ms_separate_options_suit(const struct ms_options *options, const struct ms_model_info *info,
                             struct ms_pipeline_options *out, struct ms_error *err) {
    const char *two = ms_options_string(options, MS_OPTION_TWO_STEMS);
    const char *list = ms_options_string(options, MS_OPTION_STEMS);
    double longest_s = (double)info->segment_frames / info->sample_rate_hz;
    if (out->separate.segment_s > longest_s)
        return ms_error_about(err, MS_EUSAGE, "--segment", "model %s takes at most %.6g s",
                              info->name, longest_s);
    if (two != NULL) {
        int index = find_stem(info, two, strlen(two), "--two-stems", err);
        out->two_stems = index;
        return index < 0 ? index : 0;
    }
    for (int i = 0; list == NULL && i < info->stem_count; i++)
        out->stems[i] = true;
    while (list != NULL) {
        size_t length = strcspn(list, ",");
        int index = find_stem(info, list, length, "--stems", err);
        if (index < 0)
            return index;
        out->stems[index] = true;
        list = list[length] == ',' ? list + length + 1 : NULL;
    }
    return 0;
}
