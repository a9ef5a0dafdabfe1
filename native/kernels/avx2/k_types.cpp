// Products of the types of 256 weights on AVX2.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/iq4_xs.h"
#include "native/kernels/avx2/q2_k.h"
#include "native/kernels/avx2/q3_k.h"
#include "native/kernels/avx2/q4_k.h"
#include "native/kernels/avx2/q5_k.h"
#include "native/kernels/avx2/q6_k.h"

namespace hypura::kernels::avx2 {

void matmul_iq4_xs(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<IQ4XS>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q2_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q2K>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q3_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q3K>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q4_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q4K>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q5_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q5K>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q6_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q6K>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
