/* safetensors files: 8 bytes with the header's length, a JSON header that names each tensor's type,
 * shape and place, then the values. https://huggingface.co/docs/safetensors */
#ifndef MSAAS_WEIGHTS_SAFETENSORS_H
#define MSAAS_WEIGHTS_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/digest.h"
#include "msaas/json.h"
#include "msaas/weights.h"
#include "tensors.h"

/* Whether the bytes begin as such a file does. */
bool ms_safetensors_is(const uint8_t *bytes, size_t size);

/* The header as it stands, with "__metadata__" where there is one; the caller's to free. Nothing in
 * it is checked but that it is JSON. MS_EMODEL. */
MS_MUST_CHECK int ms_safetensors_header(const uint8_t *bytes, size_t size, struct ms_json **out,
                                        struct ms_error *err);

/* Reads a whole file that lies in memory; the weights borrow the bytes. Only F16 and F32 are known;
 * tensors must fill the file without gap or overlap and be aligned to their type. Limits: a header
 * of 4 MiB, 8,192 tensors. MS_EMODEL. */
MS_MUST_CHECK int ms_safetensors_parse(const uint8_t *bytes, size_t size, struct ms_weights **out,
                                       struct ms_error *err);

/* Writes `path` (replaced if it is there) and tells the SHA-256 of what it wrote. Writes float16
 * where it holds every value of every tensor exactly, else float32. The same tensors give the same
 * bytes. NaN and infinity are refused. */
MS_MUST_CHECK int ms_safetensors_write(const char *path, const struct ms_tensors *tensors,
                                       char sha256[MS_SHA256_HEX], struct ms_error *err);

#endif
