// Strips of the types of 32 weights, by tiles.
#if defined(__x86_64__)
#include "native/kernels/amx_int8/amx_int8.h"
#include "native/kernels/amx_int8/tiles_32.h"
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/iq4_nl.h"
#include "native/kernels/avx512vnni/mxfp4.h"
#include "native/kernels/avx512vnni/q4_0.h"
#include "native/kernels/avx512vnni/q4_1.h"
#include "native/kernels/avx512vnni/q5_0.h"
#include "native/kernels/avx512vnni/q5_1.h"
#include "native/kernels/avx512vnni/q8_0.h"

namespace hypura::kernels::amx_int8 {
namespace {

using namespace avx512vnni;

// Below so many positions avx512vnni's strips were faster (docs/decisions/0019).
constexpr uint32_t kPositionsMin = 20;

// The rest, few positions and rows that are no pair of strips, is avx512vnni's in its order for Intel's cores.
template <typename Type, Matmul* kRest>
inline void matmul(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_tiles<Tiles32<Type>, kPositionsMin, kRest>(
      weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace

void matmul_iq4_nl(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<IQ4NL, quarters::matmul_iq4_nl>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_mxfp4(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<MXFP4, quarters::matmul_mxfp4>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q4_0, quarters::matmul_q4_0>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q5_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q5_0, quarters::matmul_q5_0>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q8_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q8_0, quarters::matmul_q8_0>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q4_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q4_1, quarters::matmul_q4_1>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q5_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q5_1, quarters::matmul_q5_1>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::amx_int8

#endif  // __x86_64__
