/* NAME.json: what a model is, beside its safetensors files. */
#ifndef MSAAS_MODEL_JSON_H
#define MSAAS_MODEL_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "msaas/digest.h"
#include "msaas/model.h"
#include "msaas/weights.h"

struct ms_model_json {
    struct ms_model_info info;
    struct ms_hyper hyper;
    char source[256]; /* where the weights came from, for people */
    struct {
        char file[96]; /* a plain name in the JSON's folder */
        char sha256[MS_SHA256_HEX];
    } networks[MS_MODEL_MAX_MEMBERS];
};

/* Letters, digits, '.', '_', '-', not starting with '.' or '-': safe as a file's name anywhere. */
bool ms_model_name_is_plain(const char *name);

bool ms_hyper_equal(const struct ms_hyper *a, const struct ms_hyper *b);

/* Checks everything: ranges, names, and that every stem has a network. MS_EMODEL. */
MS_MUST_CHECK int ms_model_json_parse(const char *text, size_t size, struct ms_model_json *out,
                                      struct ms_error *err);
/* The file must be named for its model. The text names the file. */
MS_MUST_CHECK int ms_model_json_read(const char *path, struct ms_model_json *out,
                                     struct ms_error *err);
/* Writes under a temporary name beside `path` and renames. */
MS_MUST_CHECK int ms_model_json_write(const char *path, const struct ms_model_json *json,
                                      struct ms_error *err);

/* Maps one member's file, which lies beside `json_path`, and checks its SHA-256 and its tensors.
 * The weights keep the file mapped until they are freed. */
MS_MUST_CHECK int ms_model_json_map(const char *json_path, const struct ms_model_json *json,
                                    int member, struct ms_weights **weights, struct ms_error *err);

#endif
