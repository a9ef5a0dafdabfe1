// Strips of the types of 256 weights, by smmla.
#if defined(__aarch64__)
#include "native/kernels/neon_dotprod/k_rows.h"
#include "native/kernels/neon_dotprod/k_types.h"
#include "native/kernels/neon_dotprod/neon_dotprod.h"
#include "native/kernels/neon_i8mm/neon_i8mm.h"
#include "native/kernels/neon_i8mm/smmla.h"

namespace hypura::kernels::neon_i8mm {
namespace {

// kRest: neon_dotprod's, for one position and for rows that are no strip.
template <typename Type, neon_dotprod::Matmul* kRest>
inline void matmul(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  neon_dotprod::matmul_strips<typename Type::Block, 256, Smmla::kStripPositionsMin,
                              neon_dotprod::strip_rows<Type, Smmla>, kRest>(
      weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace

void matmul_q2_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q2K, neon_dotprod::matmul_q2_k>(weights, n_cols, rows, activations, stride,
                                                       n_positions, out, out_stride);
}
void matmul_q3_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q3K, neon_dotprod::matmul_q3_k>(weights, n_cols, rows, activations, stride,
                                                       n_positions, out, out_stride);
}
void matmul_q4_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q4K, neon_dotprod::matmul_q4_k>(weights, n_cols, rows, activations, stride,
                                                       n_positions, out, out_stride);
}
void matmul_q5_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q5K, neon_dotprod::matmul_q5_k>(weights, n_cols, rows, activations, stride,
                                                       n_positions, out, out_stride);
}
void matmul_q6_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q6K, neon_dotprod::matmul_q6_k>(weights, n_cols, rows, activations, stride,
                                                       n_positions, out, out_stride);
}
void matmul_iq4_xs(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::IQ4XS, neon_dotprod::matmul_iq4_xs>(weights, n_cols, rows, activations, stride,
                                                           n_positions, out, out_stride);
}

}  // namespace hypura::kernels::neon_i8mm

#endif  // __aarch64__
