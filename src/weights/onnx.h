/* The little of ONNX (protobuf) that holds weights: named initializers, and which nodes use them.
 */
#ifndef MSAAS_WEIGHTS_ONNX_H
#define MSAAS_WEIGHTS_ONNX_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

#define MS_ONNX_MAX_DIMS 8

struct ms_onnx_text { /* not NUL-terminated; borrowed from the file */
    const char *at;
    size_t size;
};

struct ms_onnx_tensor {
    struct ms_onnx_text name;
    int dims;
    int64_t shape[MS_ONNX_MAX_DIMS];
    size_t count;          /* product of the shape */
    const uint8_t *values; /* float32, little-endian, of any alignment */
};

struct ms_onnx;

/* Borrows the bytes. Refuses what is malformed, initializers that are not float32 in the file
 * itself, two of one name, and more than 65,536 nodes or 8,192 initializers. MS_EMODEL. */
MS_MUST_CHECK int ms_onnx_parse(const uint8_t *bytes, size_t size, struct ms_onnx **out,
                                struct ms_error *err);
void ms_onnx_free(struct ms_onnx *onnx);

/* NULL where there is none. */
const struct ms_onnx_tensor *ms_onnx_initializer(const struct ms_onnx *onnx, const char *name);
/* The first initializer among the inputs of the node of that name; NULL where there is none. */
const struct ms_onnx_tensor *ms_onnx_node_initializer(const struct ms_onnx *onnx, const char *name);
/* Shape of the graph's input at `index`; the number of dimensions, 0 where there is no such input
 * or it is not fixed. */
int ms_onnx_input_shape(const struct ms_onnx *onnx, int index, int64_t shape[MS_ONNX_MAX_DIMS]);

#endif
