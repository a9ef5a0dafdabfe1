// Q4_0 on AVX2. Nibbles stay unsigned and 8 * (sum of a) is subtracted per block. Pair sums are at
// most 2 * 15 * 127 = 3,810, the eight steps of a strip's block 30,480: widened once.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kOffset = 8;
  static constexpr bool kMins = false;
  static constexpr bool kSigned = false;
  static constexpr int kSafeSteps = 8;

  static __m256i weights(const Block& w) { return nibbles(w.low); }

  static __m256 scales(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, d)>(w, stride);
  }
};

}  // namespace

void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_32<Q4_0>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                out_stride);
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
