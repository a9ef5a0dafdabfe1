// Q8_0 on AVX2. Pair sums are at most 2 * 128 * 127 = 32,512, so each is widened at once; without the
// sign trick of products() they would saturate.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kOffset = 0;
  static constexpr bool kMins = false;
  static constexpr bool kSigned = true;
  static constexpr int kSafeSteps = 1;

  static __m256i weights(const Block& w) { return load_32(w.q); }

  static __m256 scales(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, d)>(w, stride);
  }
};

}  // namespace

void matmul_q8_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_32<Q8_0>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                out_stride);
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
