// Products of the types of 32 weights on AVX-512 VNNI, few positions in the order that suits Intel's cores (RowOrder in strip.h).
#if defined(__x86_64__)
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/iq4_nl.h"
#include "native/kernels/avx512vnni/mxfp4.h"
#include "native/kernels/avx512vnni/q4_0.h"
#include "native/kernels/avx512vnni/q4_1.h"
#include "native/kernels/avx512vnni/q5_0.h"
#include "native/kernels/avx512vnni/q5_1.h"
#include "native/kernels/avx512vnni/q8_0.h"
#include "native/kernels/avx512vnni/rows_32.h"

namespace hypura::kernels::avx512vnni::quarters {

void matmul_iq4_nl(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<IQ4NL, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_mxfp4(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<MXFP4, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q4_0, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q4_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q4_1, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q5_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q5_0, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q5_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q5_1, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q8_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_32<Q8_0, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::avx512vnni::quarters

#endif  // __x86_64__
