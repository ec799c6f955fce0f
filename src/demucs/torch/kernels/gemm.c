/* The only user of oneDNN's own interface. Owns nothing; any thread. */
#include "gemm.h"

#include <oneapi/dnnl/dnnl.h>

bool ms_gemm(int64_t m, int64_t n, int64_t k, float alpha, struct ms_matrix a, struct ms_matrix b,
             bool b_transposed, float beta, struct ms_matrix c) {
    return dnnl_sgemm('N', b_transposed ? 'T' : 'N', m, n, k, alpha, a.data, a.stride, b.data,
                      b.stride, beta, c.data, c.stride) == dnnl_success;
}
