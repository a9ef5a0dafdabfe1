// Strips of the types of 32 weights on AVX-VNNI.
#if defined(__x86_64__)
#include "native/kernels/avx2/iq4_nl.h"
#include "native/kernels/avx2/mxfp4.h"
#include "native/kernels/avx2/q4_0.h"
#include "native/kernels/avx2/q4_1.h"
#include "native/kernels/avx2/q5_0.h"
#include "native/kernels/avx2/q5_1.h"
#include "native/kernels/avx2/q8_0.h"
#include "native/kernels/avxvnni/avxvnni.h"
#include "native/kernels/avxvnni/quad_dots.h"

namespace hypura::kernels::avxvnni {

void matmul_iq4_nl(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_32<avx2::IQ4NL, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_mxfp4(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_32<avx2::MXFP4, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_32<avx2::Q4_0, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q4_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_32<avx2::Q4_1, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q5_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_32<avx2::Q5_0, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q5_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_32<avx2::Q5_1, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q8_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  avx2::matmul_32<avx2::Q8_0, QuadDots>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::avxvnni

#endif  // __x86_64__
