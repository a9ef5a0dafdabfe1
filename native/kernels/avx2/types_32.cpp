// Products of the types of 32 weights on AVX2.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/iq4_nl.h"
#include "native/kernels/avx2/mxfp4.h"
#include "native/kernels/avx2/q4_0.h"
#include "native/kernels/avx2/q4_1.h"
#include "native/kernels/avx2/q5_0.h"
#include "native/kernels/avx2/q5_1.h"
#include "native/kernels/avx2/q8_0.h"

namespace hypura::kernels::avx2 {

void matmul_iq4_nl(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<IQ4NL>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_mxfp4(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<MXFP4>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q4_0>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q4_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q4_1>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q5_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q5_0>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q5_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q5_1>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q8_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q8_0>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
