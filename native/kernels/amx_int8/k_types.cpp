// Strips of the types of 256 weights, by tiles. How scale times weight fits into bytes: planes.h.
#if defined(__x86_64__)
#include "native/kernels/amx_int8/amx_int8.h"
#include "native/kernels/amx_int8/k_tiles.h"
#include "native/kernels/amx_int8/planes.h"
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/iq4_xs.h"
#include "native/kernels/avx512vnni/q2_k.h"
#include "native/kernels/avx512vnni/q3_k.h"
#include "native/kernels/avx512vnni/q4_k.h"
#include "native/kernels/avx512vnni/q5_k.h"
#include "native/kernels/avx512vnni/q6_k.h"

namespace hypura::kernels::amx_int8 {
namespace {

using namespace avx512vnni;

// Below so many positions avx512vnni's strips were faster (docs/decisions/0019).
template <typename Planes>
constexpr uint32_t kPositionsMin = Planes::kPlanes == 1 ? 8 : 16;

// The rest, few positions and rows that are no pair of strips, is avx512vnni's in its order for Intel's cores.
template <typename Type, typename Planes, Matmul* kRest>
inline void matmul(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_tiles<KTiles<Type, Planes>, kPositionsMin<Planes>, kRest>(
      weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace

void matmul_iq4_xs(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<IQ4XS, TwoPlanesOfProduct<IQ4XS::kOffset>, quarters::matmul_iq4_xs>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q2_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q2K, OnePlane, quarters::matmul_q2_k>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q3_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q3K, OneNegatedPlane<Q3K::kOffset>, quarters::matmul_q3_k>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q4_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q4K, TwoPlanesOfScale, quarters::matmul_q4_k>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q5_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q5K, TwoPlanesOfScale, quarters::matmul_q5_k>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_q6_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul<Q6K, TwoPlanesOfProduct<Q6K::kOffset>, quarters::matmul_q6_k>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::amx_int8

#endif  // __x86_64__
