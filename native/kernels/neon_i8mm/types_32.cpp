// Strips of the types of 32 weights, by smmla.
#if defined(__aarch64__)
#include "native/kernels/neon_dotprod/rows_32.h"
#include "native/kernels/neon_dotprod/types_32.h"
#include "native/kernels/neon_dotprod/neon_dotprod.h"
#include "native/kernels/neon_i8mm/neon_i8mm.h"
#include "native/kernels/neon_i8mm/smmla.h"

namespace hypura::kernels::neon_i8mm {
namespace {

// kRest: neon_dotprod's, for one position and for rows that are no strip.
template <typename Type, neon_dotprod::Matmul* kRest>
inline void matmul(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  neon_dotprod::matmul_strips<typename Type::Block, 32, Smmla::kStripPositionsMin,
                              neon_dotprod::strip_rows<Type, Smmla>, kRest>(
      weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace

void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q4_0, neon_dotprod::matmul_q4_0>(weights, n_cols, rows, activations, stride,
                                                        n_positions, out, out_stride);
}
void matmul_q4_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q4_1, neon_dotprod::matmul_q4_1>(weights, n_cols, rows, activations, stride,
                                                        n_positions, out, out_stride);
}
void matmul_q5_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q5_0, neon_dotprod::matmul_q5_0>(weights, n_cols, rows, activations, stride,
                                                        n_positions, out, out_stride);
}
void matmul_q5_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q5_1, neon_dotprod::matmul_q5_1>(weights, n_cols, rows, activations, stride,
                                                        n_positions, out, out_stride);
}
void matmul_q8_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::Q8_0, neon_dotprod::matmul_q8_0>(weights, n_cols, rows, activations, stride,
                                                        n_positions, out, out_stride);
}
void matmul_iq4_nl(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::IQ4NL, neon_dotprod::matmul_iq4_nl>(weights, n_cols, rows, activations, stride,
                                                           n_positions, out, out_stride);
}
void matmul_mxfp4(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                  uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<neon_dotprod::MXFP4, neon_dotprod::matmul_mxfp4>(weights, n_cols, rows, activations, stride,
                                                          n_positions, out, out_stride);
}

}  // namespace hypura::kernels::neon_i8mm

#endif  // __aarch64__
