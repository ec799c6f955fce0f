/* The kernels of one kind of processor: compiled once for each, with MS_KERNELS the table's name
 * (CMakeLists.txt). */
#include "kernels.h"

#include "attention.h"
#include "norms.h"
#include "pack.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define JOINED_OF(a, b) a##b
#define JOINED(a, b) JOINED_OF(a, b)

extern const struct ms_kernels JOINED(ms_kernels_, MS_KERNELS);

const struct ms_kernels JOINED(ms_kernels_, MS_KERNELS) = {
    .name = TEXT(MS_KERNELS),
#if defined(__AVX512BF16__)
    .fast_bf16 = true,
#endif
    .packed_bytes = packed_bytes,
    .pack = pack,
    .product_bytes = product_bytes,
    .product = product,
    .attention_bytes = attention_bytes,
    .attention = attention,
    .layer_norm = layer_norm,
    .affine = affine,
    .measure = measure,
    .moments = moments,
    .add = add,
    .to_bf16 = to_bf16,
};
