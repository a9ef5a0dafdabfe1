// Products of the types of 256 weights on AVX-512 VNNI, few positions in the order that suits Intel's cores (RowOrder in strip.h).
#if defined(__x86_64__)
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/iq4_xs.h"
#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/q2_k.h"
#include "native/kernels/avx512vnni/q3_k.h"
#include "native/kernels/avx512vnni/q4_k.h"
#include "native/kernels/avx512vnni/q5_k.h"
#include "native/kernels/avx512vnni/q6_k.h"

namespace hypura::kernels::avx512vnni::quarters {

void matmul_iq4_xs(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<IQ4XS, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q2_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q2K, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q3_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q3K, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q4_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q4K, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q5_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q5K, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}
void matmul_q6_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_k<Q6K, RowOrder::kQuarters>(weights, n_cols, rows, activations, activation_stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::avx512vnni::quarters

#endif  // __x86_64__
