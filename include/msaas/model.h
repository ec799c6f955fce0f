/* A Demucs v4 model: hyper-parameters, weights, stems. Immutable once opened; shared by any number
 * of threads.
 *
 * On disk a model is NAME.json (name, hyper-parameters, stems, licence, networks with their
 * SHA-256) beside one safetensors file per network (https://huggingface.co/docs/safetensors: 8-byte
 * little-endian header length, JSON header, raw values), tensors in float16 as published or
 * float32. A bag (htdemucs_ft) is one JSON that names several networks, each with a weight per
 * stem. No particular model is known to the code. */
#ifndef MSAAS_MODEL_H
#define MSAAS_MODEL_H

#include <stdint.h>

#include "msaas/err.h"
#include "msaas/stem.h"

#define MS_MODEL_MAX_STEMS 16
#define MS_MODEL_MAX_MEMBERS 16
#define MS_MODEL_NAME_MAX 64
#define MS_MODEL_STEM_MAX MS_STEM_NAME_BYTES

struct ms_model_info {
    char name[MS_MODEL_NAME_MAX];
    char licence[256];
    int sample_rate_hz;
    int segment_frames; /* frames of one forward pass: 343,980 for htdemucs (7.8 s) */
    int stem_count;
    char stems[MS_MODEL_MAX_STEMS][MS_MODEL_STEM_MAX];
    int member_count;
    /* [network][stem]: a stem is the mean of the networks' outputs weighted by these (upstream's
     * BagOfModels). */
    double weights[MS_MODEL_MAX_MEMBERS][MS_MODEL_MAX_STEMS];
};

/* Finds the model that a user's word means. A path (it holds a '/' or ends in .json) means that
 * file or, where it is a folder, the only model in it. A plain name means models_dir/NAME.json.
 * *out is the caller's to free. MS_ENOTFOUND: the text says what to do. */
MS_MUST_CHECK int ms_model_locate(const char *models_dir, const char *word, char **out,
                                  struct ms_error *err);

/* `path` itself where it is a file; where it is a folder, the only NAME.json in it. *out is the
 * caller's to free. MS_ENOTFOUND; MS_EMODEL: the folder holds several. */
MS_MUST_CHECK int ms_model_find_json(const char *path, char **out, struct ms_error *err);

/* What NAME.json says, without looking at the weights. */
MS_MUST_CHECK int ms_model_describe(const char *path, struct ms_model_info *info,
                                    struct ms_error *err);

/* Checks everything that opening the model checks, without making networks. path: NAME.json; info
 * may be NULL. */
MS_MUST_CHECK int ms_model_verify(const char *path, struct ms_model_info *info,
                                  struct ms_error *err);

#endif
