// Strips of the types of 256 weights on AVX-VNNI.
#if defined(__x86_64__)
#include "native/kernels/avx2/iq4_xs.h"
#include "native/kernels/avx2/q2_k.h"
#include "native/kernels/avx2/q3_k.h"
#include "native/kernels/avx2/q4_k.h"
#include "native/kernels/avx2/q5_k.h"
#include "native/kernels/avx2/q6_k.h"
#include "native/kernels/avxvnni/avxvnni.h"
#include "native/kernels/avxvnni/quad_dots.h"

namespace hypura::kernels::avxvnni {

void matmul_iq4_xs(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_k<avx2::IQ4XS, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q2_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_k<avx2::Q2K, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q3_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_k<avx2::Q3K, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q4_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_k<avx2::Q4K, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q5_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_k<avx2::Q5K, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q6_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_k<avx2::Q6K, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::avxvnni

#endif  // __x86_64__
