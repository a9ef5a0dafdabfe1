// The products of the types of 32 weights: rows_32.h with each of types_32.h.
#if defined(__aarch64__)
#include "native/kernels/neon_dotprod/neon_dotprod.h"
#include "native/kernels/neon_dotprod/rows_32.h"
#include "native/kernels/neon_dotprod/types_32.h"

namespace hypura::kernels::neon_dotprod {

void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q4_0>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q4_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q4_1>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q5_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q5_0>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q5_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q5_1>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q8_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q8_0>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_iq4_nl(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<IQ4NL>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_mxfp4(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                  uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<MXFP4>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::neon_dotprod

#endif  // __aarch64__
