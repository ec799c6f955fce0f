/* The published models that this program knows: where their weights come from and what they must be
 *
 * (models/NAME.json, built into the binary). */
#ifndef MSAAS_MANIFEST_H
#define MSAAS_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "msaas/digest.h"
#include "msaas/err.h"
#include "msaas/json.h"
#include "msaas/model.h"

#define MS_MANIFEST_MAX_SOURCES 4
/* The licence of weights that no manifest knows. */
#define MS_LICENCE_NOT_KNOWN "not known: ask whoever published the weights"

struct ms_manifest_source { /* one form in which a network's weights are published */
    char file[96];
    char url[256]; /* "": none is known */
    /* whole, or the first digits where only those are published; "" (bags): any file will do */
    char sha256[MS_SHA256_HEX];
    int64_t bytes; /* 0: not known */
};

struct ms_manifest_network {
    int source_count;
    struct ms_manifest_source sources[MS_MANIFEST_MAX_SOURCES];
    char sha256[MS_SHA256_HEX]; /* of the safetensors file that is made of it; "": not known */
    /* name of a tensor -> SHA-256 of its values (float16, C order); NULL: not known */
    const struct ms_json *tensors;
};

struct ms_manifest {
    struct ms_model_info info; /* all but sample rate and segment, which the weights tell */
    struct ms_manifest_network networks[MS_MODEL_MAX_MEMBERS];
    /* Read from upstream's NAME.yaml: stems (at most their number, from the weights; 0: all weights
     * are 1), licence and digests are not known. */
    bool is_bag;
    double segment_s; /* of a bag: what networks are given at most; 0: what each was made for */
    struct ms_json *document;
};

/* Names of the known models in alphabetical order; NULL past the last. */
const char *ms_manifest_name(int index);
/* Opens a known model's manifest by its name (MS_ENOTFOUND: the text lists the names), or a
 * manifest of one's own or a bag by its path, which holds a '/' or ends in .json or .yaml
 * (MS_EMODEL). The caller closes *out. */
MS_MUST_CHECK int ms_manifest_open(const char *name, struct ms_manifest *out, struct ms_error *err);
void ms_manifest_close(struct ms_manifest *manifest);
/* MS_ENOTFOUND, with a text for people who named a model that the folder does not hold: what to do
 * about it, which depends on whether it is a known one. */
int ms_manifest_not_installed(const char *name, const char *folder, struct ms_error *err);
/* Whether the path is that of a bag: it ends in .yaml. */
bool ms_manifest_is_bag(const char *path);
/* The files of a bag's networks in the folder of its NAME.yaml, `path`: SIGNATURE.safetensors or
 * .th, or SIGNATURE-CHECKSUM.th, whose checksum counts from now on. The paths are the caller's to
 * free, also after an error. MS_ENOTFOUND. */
MS_MUST_CHECK int ms_manifest_find_beside(struct ms_manifest *bag, const char *path, char **files,
                                          struct ms_error *err);

/* Whether a file of this SHA-256 is one of the forms in which that network's weights are published.
 */
bool ms_manifest_has_source(const struct ms_manifest *manifest, int network, const char *sha256);
/* The same as an error: MS_ECORRUPT, with a text that names the digests that would be right. */
MS_MUST_CHECK int ms_manifest_check_digest(const struct ms_manifest *manifest, int network,
                                           const char *sha256, struct ms_error *err);
/* Reads the file at `path` and checks its digest. The text names the file. */
MS_MUST_CHECK int ms_manifest_check_source(const struct ms_manifest *manifest, int network,
                                           const char *path, struct ms_error *err);
/* ms_model_verify, and that the model is the one published, as far as its digests are known.
 * MS_ECORRUPT: another one. */
MS_MUST_CHECK int ms_manifest_check_model(const struct ms_manifest *manifest, const char *path,
                                          struct ms_error *err);

#endif
