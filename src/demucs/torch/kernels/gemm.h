/* Matrix products in single precision on one thread, on the CPU.
 *
 * oneDNN makes its kernels for the processor at hand when it is first called, so that they use the widest vectors whatever
 * the age of the library; the BLAS behind libtorch may know no better than AVX2 (half the speed), or less. */
#ifndef MSAAS_DEMUCS_GEMM_H
#define MSAAS_DEMUCS_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of `data` are `stride` values apart. */
struct ms_matrix {
    float *data;
    int64_t stride;
};

/* c [m][n] = alpha * a [m][k] * b + beta * c, where b is [k][n], or [n][k] if transposed. Uses as many threads as OpenMP
 * gives the caller: one, in a session. False when oneDNN refuses. */
bool ms_gemm(int64_t m, int64_t n, int64_t k, float alpha, struct ms_matrix a, struct ms_matrix b,
             bool b_transposed, float beta, struct ms_matrix c);

#ifdef __cplusplus
}
#endif
#endif
