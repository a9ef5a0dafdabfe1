// Q8_0 on AVX2. maddubs wants one unsigned operand: |w| takes that place and the sign of w moves to
// the activation, whose q is never -128. Pair sums are at most 2 * 128 * 127 = 32,512, so each is
// widened at once; without the sign trick they would saturate.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kOffset = 0;

  static __m256i dot(const Block& block, __m256i q) {
    const __m256i w = load_32(block.q);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }

  static void unpack(const Block* rows, uint64_t row_blocks, Strip& strip, uint32_t k) {
    __m256i v[8];
    for (uint32_t r = 0; r < 8; ++r) v[r] = load_32(rows[r * row_blocks].q);
    transpose_8x8(v);
    for (int s = 0; s < 8; ++s) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(strip.q[k][s]), _mm256_abs_epi8(v[s]));
      _mm256_store_si256(reinterpret_cast<__m256i*>(strip.raw[k][s]), v[s]);
    }
  }

  template <int kPositions>
  static void strip_dot(const Strip& strip, int k, const ActivationA32* const* a, __m256i* isum) {
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) isum[i] = _mm256_setzero_si256();
    for (int s = 0; s < 8; ++s) {
      const __m256i magnitude = load_32(strip.q[k][s]), w = load_32(strip.raw[k][s]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) {
        const __m256i q = _mm256_sign_epi8(broadcast_4(a[i]->q[k] + 4 * s), w);
        isum[i] = _mm256_add_epi32(
            isum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, q), _mm256_set1_epi16(1)));
      }
    }
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
