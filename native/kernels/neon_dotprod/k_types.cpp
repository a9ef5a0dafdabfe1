// The products of the types of 256 weights: k_rows.h with each of k_types.h.
#if defined(__aarch64__)
#include "native/kernels/neon_dotprod/k_rows.h"
#include "native/kernels/neon_dotprod/k_types.h"
#include "native/kernels/neon_dotprod/neon_dotprod.h"

namespace hypura::kernels::neon_dotprod {

void matmul_q2_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q2K>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q3_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q3K>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q4_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q4K>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q5_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q5K>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q6_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q6K>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_iq4_xs(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<IQ4XS>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::neon_dotprod

#endif  // __aarch64__
